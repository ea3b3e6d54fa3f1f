"""Benchmarks; each compares with a stated reference in one process and one run."""
