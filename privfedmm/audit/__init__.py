"""Audits of a run: its budget, canaries against its claim, and attacks on every promise."""
