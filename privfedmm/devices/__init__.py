"""What a device computes from its own user's items: samples, profiles, associations."""
