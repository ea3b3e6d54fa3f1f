"""Settings as plain values by dotted path, and where two sets of them differ."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from privacy.commitment import canonical
from privfedmm.config import RunConfig, to_toml

_NOT_THERE = object()


def plain(values: Any) -> Any:
    """Return values as JSON has them, infinities as text."""
    if isinstance(values, Mapping):
        return {str(name): plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return str(values)
    return json.loads(canonical(values))


def plain_config(config: RunConfig) -> dict[str, Any]:
    """Return a config as config.toml has it, in plain values."""
    out: dict[str, Any] = plain(tomllib.loads(to_toml(config)))
    return out


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as one table of dotted paths."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        out |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) and value else {
            prefix + name: value}
    return out


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the paths, in order, whose values are not alike in two flat tables."""
    return [name for name in sorted(one.keys() | other.keys())
            if one.get(name, _NOT_THERE) != other.get(name, _NOT_THERE)]


def was_is(
    was: Mapping[str, Any], is_: Mapping[str, Any], but: Iterable[str] = ()
) -> list[str]:
    """Return what differs between two sets of nested settings, as `path: was -> is`.

    but: paths that may differ.
    """
    old, new = flat(was), flat(is_)
    return [f"{name}: {shown(old, name)} -> {shown(new, name)}"
            for name in differing(old, new) if name not in set(but)]


def shown(values: Mapping[str, Any], name: str) -> str:
    """Return one value of a flat table for people."""
    return json.dumps(values[name]) if name in values else "not there"
