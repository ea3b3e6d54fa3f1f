"""What the texts of command-line arguments mean."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import begun
from privfedmm.base.values import value_of

if TYPE_CHECKING:
    from privfedmm.config import RunConfig

RATE = "dp.sampling_rate"


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """Return the settings of --set by path. Raises UserError for text that is no path=value."""
    out = {}
    for pair in pairs or []:
        path, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair}: write it as path=value")
        out[path] = value_of(text)
    return out


def sampled(file: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Return flags in which a sampling rate without a budget is the share of a plain cohort."""
    from privfedmm.config import read_toml

    asked = any(flags.get(name) is not None for name in flags
                if name.startswith("dp.") and name != RATE)
    held = {} if file is None else read_toml(file)
    if flags.get(RATE) is None or asked or "dp" in held:
        return flags
    return {**{name: value for name, value in flags.items() if name != RATE},
            "cohort": flags[RATE]}


def modalities(text: str | None) -> object:
    """Return "all", "none" or None as given, and other text as the list of names in it."""
    if text in (None, "all", "none"):
        return text
    assert text is not None
    return [name.strip() for name in text.split(",")]


def metrics(text: str | None) -> list[str] | None:
    """Return the names of metrics in a text with commas, None where there is none."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


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


@contextmanager
def folder_of(out: Path | None, config: RunConfig, kind: str = "") -> Iterator[Path]:
    """Give the run folder `out`, or else a new one under runs/ named by data, method, seed and
    time.

    kind: in the place of the method. Two processes never get the same one: whoever comes second in
    a second has a number after it. Where nothing is written to it, none is left. Raises UserError
    where it cannot be made.
    """
    if out is not None:
        yield out
        return
    name = (f"{Path(config.dataset).name}-{kind or config.method}-seed{config.seed}-"
            f"{time.strftime('%Y%m%d-%H%M%S')}")
    begun()
    folder = _fresh(Path("runs") / name)
    try:
        yield folder
    finally:
        if not any(folder.iterdir()):
            folder.rmdir()


def _fresh(wanted: Path) -> Path:
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"--out: {folder} cannot be made ({error.strerror}); run this in a "
                            "folder that can be written, or name one with --out") from error
    raise AssertionError("unreachable")
