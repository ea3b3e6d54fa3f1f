"""Ways of summing and noises that a config may name."""
