"""Pages for people, made from run records, audits and comparisons."""
