"""Experiments: the command line, configs, runs and records."""
