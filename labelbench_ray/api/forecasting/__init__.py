"""What a grid will take, before it starts: from rounds that were measured, and a price table."""
