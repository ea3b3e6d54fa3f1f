"""Data sets that are known by name: everyone can have them, without a folder of their own."""

from __future__ import annotations

from privfedmm.data.sources.source import (
    SOURCES,
    Request,
    Source,
    available,
    find_source,
    is_named,
)

__all__ = ["SOURCES", "Request", "Source", "available", "find_source", "is_named"]
