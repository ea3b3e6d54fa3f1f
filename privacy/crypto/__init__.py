"""Keys and ciphertexts: what the protocols are built from."""
