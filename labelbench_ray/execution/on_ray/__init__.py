"""The only place where Ray is imported."""
