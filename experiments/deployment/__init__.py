"""A run on Flower, all of whose processes are on this machine."""
