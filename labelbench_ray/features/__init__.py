"""Embeddings on disk: written once, read by memory-mapping."""
