"""Tensors in, tensors out: the numerical work, equal to naive loops."""
