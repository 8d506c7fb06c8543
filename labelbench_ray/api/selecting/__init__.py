"""Choosing what to label next on a pool of one's own: behind `labelbench select`. Nothing is uploaded anywhere."""
