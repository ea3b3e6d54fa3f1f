"""What a value that was typed means."""

from __future__ import annotations

import tomllib
from typing import Any


def value_of(text: str) -> Any:
    """Return a typed value as TOML has it (3, 0.5, true, [1, 2]), and what is no TOML as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
