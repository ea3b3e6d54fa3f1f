"""Options and small habits that commands share."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from experiments.errors import UserError
from privfedmm.encoders import Report

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file; flags win over it.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as path=value: algorithm.local.epochs=3."),
]
AllowMissingOption = Annotated[
    bool | None,
    typer.Option("--allow-missing", help="Go on without texts and pictures that are not there "
                 "or cannot be read; the record counts them."),
]


def errors() -> Console:
    """The console of progress and tables: standard error."""
    return Console(stderr=True)


def reporter(console: Console) -> Report:
    """Prints the progress of encoding."""
    return lambda line: console.print(f"encode {line}", highlight=False, soft_wrap=True)


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """The settings of --set. Raises UserError for text without an equals sign."""
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


def show(result: dict[str, Any], as_json: bool) -> None:
    """A result, as one JSON object or line by line."""
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            print(f"{key:28} {row}")
