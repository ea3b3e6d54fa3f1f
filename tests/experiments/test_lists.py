"""What the commands that list entries show, kind by kind."""

from __future__ import annotations

import json

import pytest

from experiments.cli.lists import KINDS, registry_of
from tests.commands import cli


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_with_its_source(kind: str) -> None:
    done = cli(kind, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(registry_of(kind).names())
    assert all(row["from"] for row in rows)
    shown = cli(kind)
    assert shown.returncode == 0 and rows[0]["name"] in shown.stdout
    missing = cli(kind, "no-such-thing")
    assert missing.returncode == 2 and rows[0]["name"] in missing.stderr


def test_a_method_is_shown_with_its_settings() -> None:
    (row,) = json.loads(cli("methods", "gfmfr", "--json").stdout)
    paths = {setting["path"] for setting in row["settings"]}
    assert "algorithm.model.dim" in paths and "groups" in row["can"]


def test_a_setting_is_explained_and_a_wrong_one_gets_near_ones() -> None:
    (setting,) = json.loads(cli("config", "explain", "dp.epsilon", "--json").stdout)
    assert setting["range"] == "> 0" and setting["default"] == "required"
    wrong = cli("config", "explain", "epsilon")
    assert wrong.returncode == 2 and "dp.epsilon" in wrong.stderr
