"""Runs: their rounds, evaluation, checkpoints and records, and what finished ones recommend."""
