"""What of a run may be given away, in one folder, and what its readers do with it."""
