"""A part of each kind for privfedmm, added from outside."""
