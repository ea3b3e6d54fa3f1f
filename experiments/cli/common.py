"""Options and small habits that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from experiments.cli.choices import DUPLICATES, one_of
from experiments.cli.talk import Talk, talk_of

if TYPE_CHECKING:
    from privfedmm.encoders import Report

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file; flags win over it.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as path=value: algorithm.local.epochs=3."),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(help="Shown and recorded, with commas, at any length: ndcg@10,recall@20; "
                 "`privfedmm metrics` lists them."),
]
ColumnsOption = Annotated[
    str | None, typer.Option(help="What columns are called where that is not known: "
                             "user=uid,item=asin,rating=overall,time=unixReviewTime.")
]
MinRatingOption = Annotated[
    float | None, typer.Option(help="Least rating that counts as liked; default: all rows.")
]
DuplicatesOption = Annotated[
    str | None, typer.Option(help="Which row of a pair that stands several times is kept: last or "
                             "first by time (default last), or error.",
                             click_type=one_of(DUPLICATES))
]
KCoreOption = Annotated[int | None, typer.Option(help="k-core filter; 0 for none.")]
AllowMissingOption = Annotated[
    bool | None,
    typer.Option("--allow-missing", help="Go on without texts and pictures that are not there "
                 "or cannot be read; the record counts them."),
]


def errors() -> Talk:
    """Return the console of progress and tables, which is standard error."""
    return talk_of()


def wrote(place: Path) -> None:
    """Say what a command has written, as its last line."""
    errors().print(f"wrote {place}", highlight=False, soft_wrap=True)


def tell_picked(console: Console, file: Path | None, flags: dict[str, Any]) -> None:
    """Say which method was chosen for the user, where one was, and how to get the other."""
    from privfedmm.config import picked

    line = picked(file, flags)
    if line is not None:
        console.print(line, highlight=False, soft_wrap=True)


def reporter(console: Console) -> Report:
    """Return a function that prints the progress of encoding."""
    return lambda line: console.print(f"encode {line}", highlight=False, soft_wrap=True)
