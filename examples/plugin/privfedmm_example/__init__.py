"""A method and a backbone for privfedmm, added from outside."""
