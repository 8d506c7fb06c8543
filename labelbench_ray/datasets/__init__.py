"""Data sets: cards and loaders."""
