"""The error that every fault in a user's data becomes."""

from __future__ import annotations


class DataError(ValueError):
    """The user's data has a fault, told as one sentence: file, line or row, and what to do."""
