"""What is trained on the labels bought so far, and how."""
