"""Pretrained encoders: images to embeddings."""
