"""What the texts of command-line arguments mean."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privfedmm.base.errors import UserError

if TYPE_CHECKING:
    from privfedmm.config import RunConfig


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """Return the settings of --set by path. Raises UserError for text that is no path=value."""
    out = {}
    for pair in pairs or []:
        path, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair}: write it as path=value")
        try:
            out[path] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            out[path] = text
    return out


def modalities(text: str | None) -> object:
    """Return "all", "none" or None as given, and other text as the list of names in it."""
    if text in (None, "all", "none"):
        return text
    assert text is not None
    return [name.strip() for name in text.split(",")]


def share(text: str) -> float:
    """Return a share of clients that vanish. Raises UserError for text that is none."""
    try:
        found = float(text)
    except ValueError as error:
        raise UserError(f"--dropouts: {text!r} is not a number; write 0,0.1,0.3") from error
    if not 0 <= found < 0.45:
        raise UserError(f"--dropouts: {found:g} must be at least 0 and below 0.45")
    return found


def numbers(text: str) -> list[int]:
    """Return whole numbers from a text with commas. Raises UserError for other text."""
    try:
        return [int(part) for part in text.split(",") if part]
    except ValueError as error:
        raise UserError(f"{text!r}: write whole numbers with commas, as in 1,2,3") from error


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result as JSON, or one value a line."""
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            print(f"{key:28} {row}")


def folder_of(out: Path | None, config: RunConfig) -> Path:
    """Return the run folder `out`, or else one under runs/ named by data, method, seed and time."""
    return out or Path("runs") / (
        f"{Path(config.dataset).name}-{config.method}-seed{config.seed}-"
        f"{time.strftime('%Y%m%d-%H%M%S')}")
