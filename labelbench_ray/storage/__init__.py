"""Files by name, on a disk or in an object store."""
