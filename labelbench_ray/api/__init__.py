"""Everything the command line does, as functions: ``grid``, ``catalogue`` and ``doctor``."""
