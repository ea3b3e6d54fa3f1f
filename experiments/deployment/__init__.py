"""A run on Flower: its parties, how they come together, and their processes."""
