"""Contracts that every implementation of a kind must pass; for users' own tests."""
