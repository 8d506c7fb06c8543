"""Semi-supervised losses, one file each: pure functions of logits and a small explicit state."""
