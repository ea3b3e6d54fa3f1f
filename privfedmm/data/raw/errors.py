"""The error that every fault in a user's data becomes."""

from __future__ import annotations


class DataError(ValueError):
    """A fault in the user's data, told as one sentence: file, line or row, what to do."""
