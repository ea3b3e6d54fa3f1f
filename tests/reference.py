"""Writes the reference pages from the code itself: `python -m tests.reference` (make reference).

`docs/reference/cli.md` comes from the commands, `docs/reference/settings.md` from the models of the
settings. A test fails where the pages in the repository differ from fresh ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from click import Choice

from experiments.cli import app
from experiments.cli.command import volume
from privfedmm.base.registry import OURS
from privfedmm.config import RunConfig
from privfedmm.config.explain import Setting, settings_of
from privfedmm.methods.registry import METHODS

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `make reference`; change the code instead. -->\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command of the program, by the words that call it."""
    yield from _below(typer.main.get_command(app), "privfedmm")


def _below(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name, one in inner.items():
        yield from _below(one, f"{words} {name}")


def parameters(command: Any) -> Iterator[tuple[str, str, str, str]]:
    """Name, kind, default and meaning of each parameter of a command."""
    for one in command.params:
        named = one.param_type_name == "option"
        name = ", ".join((*one.opts, *one.secondary_opts)) if named else str(one.name).upper()
        kind = "flag" if getattr(one, "is_flag", False) else one.type.name
        if isinstance(one.type, Choice):
            kind = " | ".join(one.type.choices)
        default = "required" if one.required else _plain(one.default)
        yield name, kind, default, one.help or ""


def _plain(default: Any) -> str:
    """A default as it is typed; nothing for absent and false."""
    if default is None or default is False or default == () or callable(default):
        return ""
    return ", ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)


def cli_page() -> str:
    """The reference of the command line."""
    out = [MADE, "# Command line\n",
           "Options may be given in any order. `--set PATH=VALUE` reaches every "
           "[setting](settings.md). What a command ends with: [error map](../errors.md). Every "
           "command takes the following, and `privfedmm` alone `--version`, `--install-completion` "
           "and `--show-completion`.\n",
           "| argument | what |", "|---|---|",
           *(_row(f"`{', '.join(one.opts)}`", one.help or "") for one in volume()), ""]
    for words, command in commands():
        out.append(f"## {words}\n")
        out.append(inspect.cleandoc(command.help or "") + "\n")
        everywhere = {(", ".join(one.opts), one.help) for one in volume()}
        rows = [row for row in parameters(command)
                if row[0] != "--help" and (row[0], row[3]) not in everywhere]
        if rows:
            out += ["| argument | type | default | what |", "|---|---|---|---|"]
            out += [_row(f"`{name}`", kind, default and f"`{default}`", meaning)
                    for name, kind, default, meaning in rows]
            out.append("")
    return "\n".join(out)


def settings() -> Iterator[Setting]:
    """Every setting of a run, then those of our methods that have a section of their own."""
    yield from settings_of(RunConfig)
    for entry in METHODS:
        if entry.section == "settings" and METHODS.source(entry.name) == OURS:
            yield Setting("settings", "section", "", "", f"Of method {entry.name}.", True)
            yield from settings_of(entry.settings, "settings.")


def settings_page() -> str:
    """The reference of the settings."""
    out = [MADE, "# Settings\n",
           "A path is what `--set` takes, and what `config.toml` holds as sections and keys. Some "
           "defaults depend on method, backbone and privacy; a run's `config.toml` has those that "
           "it was run with.\n"]
    every = list(settings())
    sections = {"": "", **{one.path: one.meaning for one in every if one.section}}
    for section, meaning in sections.items():
        rows = [one for one in every
                if not one.section and one.path.rpartition(".")[0] == section]
        if section:
            out += [f"## {section}\n", f"{meaning}\n"]
        if rows:
            out += ["| setting | type | default | range | what |", "|---|---|---|---|---|"]
            out += [_row(f"`{one.path}`", one.type, one.default and f"`{one.default}`",
                         one.range, one.meaning) for one in rows]
            out.append("")
    return "\n".join(out)


def _row(*cells: str) -> str:
    """A row of a table. A bar inside a cell would end it."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


PAGES = {"cli.md": cli_page, "settings.md": settings_page}


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
