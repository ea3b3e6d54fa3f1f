"""`privfedmm history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.common import JsonOption
from experiments.cli.talk import LOG
from privfedmm.base.errors import UserError


def history(
    folder: Annotated[Path, typer.Argument(
        help="A run folder, or a folder of them.")] = Path("runs"),
    json_: JsonOption = False,
) -> None:
    """What was run in a folder, when, and how it ended: from the logs that commands leave."""
    import json

    from rich.table import Table

    from experiments.cli.talk import results

    found = told(folder)
    if not found:
        raise UserError(f"history: {folder} holds no {LOG}; commands that leave a folder leave one "
                        "in it")
    if json_:
        print(json.dumps(found))
        return
    table = Table()
    for name in ("when", "folder", "command", "last said"):
        table.add_column(name, overflow="fold")
    for row in found:
        table.add_row(*(row[key] for key in ("when", "folder", "command", "last")))
    results().print(table, highlight=False)


def told(folder: Path) -> list[dict[str, str]]:
    """Return one row a command of the logs below a folder, the oldest first: when it began, its
    folder, the command, and the last line that it said. Raises UserError for an unreadable log."""
    rows: list[dict[str, str]] = []
    for file in sorted(folder.rglob(LOG)):
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"history: {file} cannot be read ({error}); move it away") from error
        mine: list[dict[str, str]] = []
        for line in lines:
            when, _, text = line.partition(" ")
            if text.startswith("$ "):
                mine.append({"when": when, "folder": str(file.parent), "command": text[2:],
                             "last": ""})
            elif mine:
                mine[-1]["last"] = text.strip()
        rows += mine
    return sorted(rows, key=lambda row: row["when"])
