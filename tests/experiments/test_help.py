"""What `--help` of every command shows."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import pytest
from typer.models import ArgumentInfo, OptionInfo

from experiments.cli.command import volume
from tests import reference
from tests.commands import cli

COMMANDS = dict(reference.commands())


def meanings(command: Any) -> dict[str, str]:
    """Parameter -> its sentence, as the function says it."""
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    return {name: info.help or "" for name, hint in hints.items()
            for info in getattr(hint, "__metadata__", ())
            if isinstance(info, ArgumentInfo | OptionInfo)}


@pytest.mark.parametrize("words", COMMANDS)
def test_every_argument_and_option_is_explained(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = COMMANDS[words]
    said = meanings(command)
    everywhere = {one.name: one.help or "" for one in volume()}
    said = everywhere | said
    assert {one.name for one in command.params} == said.keys() and all(said.values())
    monkeypatch.setenv("COLUMNS", "300")  # a sentence a line
    done = cli(*words.split()[1:], "--help")
    shown = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 0, done.stderr
    assert not [name for name, sentence in said.items() if sentence not in shown]


def test_there_are_arguments_to_explain() -> None:
    positional = [words for words, command in COMMANDS.items()
                  if any(one.param_type_name == "argument" for one in command.params)]
    assert {"privfedmm data get", "privfedmm audit", "privfedmm deploy settle",
            "privfedmm methods", "privfedmm config explain"} <= set(positional)
