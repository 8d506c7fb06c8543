"""The trial loop, its state and its result rows."""
