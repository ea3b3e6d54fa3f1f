"""What the commands that list entries show, kind by kind."""

from __future__ import annotations

import json

import pytest

import privfedmm as pf
from experiments.cli.lists import KINDS, registry_of
from tests.commands import cli


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_with_its_source(kind: str) -> None:
    done = cli(kind, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == list(registry_of(kind).names())
    assert all(row["from"] and row["what"] for row in rows)
    assert all(setting["meaning"] for row in rows for setting in row["settings"])
    shown = cli(kind)
    assert shown.returncode == 0 and rows[0]["name"] in shown.stdout
    missing = cli(kind, "no-such-thing")
    assert missing.returncode == 2 and rows[0]["name"] in missing.stderr


def test_a_method_is_shown_with_its_settings() -> None:
    (row,) = json.loads(cli("methods", "gfmfr", "--json").stdout)
    paths = {setting["path"] for setting in row["settings"]}
    assert "algorithm.model.dim" in paths and "groups" in row["can"]


def test_a_kind_that_a_section_tunes_shows_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, path in (("noises", "dp.clip_norm"), ("fusions", "algorithm.fusion.epochs"),
                       ("groupings", "algorithm.groups.groups"), ("aggregators", "secure.dropout"),
                       ("backbones", "algorithm.model.dim")):
        rows = json.loads(cli(kind, "--json").stdout)
        assert any(path in {s["path"] for s in row["settings"]} for row in rows), kind
        assert any(row["can"] for row in rows), kind
        monkeypatch.setenv("COLUMNS", "200")
        assert path in cli(kind).stdout
    # Layouts say whether a budget takes their items as they are.
    assert all(row["can"] for row in json.loads(cli("layouts", "--json").stdout))
    # What hides nobody has nothing to tune.
    assert json.loads(cli("aggregators", "plain", "--json").stdout)[0]["settings"] == []


def test_a_default_is_the_method_s_own_and_says_where_it_changes() -> None:
    def default(method: str, path: str) -> str:
        (row,) = json.loads(cli("methods", method, "--json").stdout)
        (found,) = [s["default"] for s in row["settings"] if s["path"] == path]
        return str(found)

    assert default("taste", "statistics.recent_weight") == "0.7"
    assert default("group_statistics", "statistics.recent_weight") == "0.5"
    epochs = default("backbone", "algorithm.local.epochs")
    assert epochs.endswith("; with --dp-epsilon 3")
    assert default("gfmfr", "algorithm.groups.grouping").endswith("; with --dp-epsilon none")


@pytest.mark.parametrize(("method", "more"), [
    ("backbone", {}), ("local", {"algorithm.server.lr": 1.0})])
def test_a_method_reads_the_settings_that_it_lists_and_no_other(
    method: str, more: dict[str, object]
) -> None:
    (row,) = json.loads(cli("methods", method, "--json").stdout)
    listed = {s["path"] for s in row["settings"]}
    unread: dict[str, object] = {"algorithm.groups.groups": 2, "algorithm.fusion.epochs": 1,
              "algorithm.distillation.weight": 0.5, "algorithm.associations.weight": 0.9, **more}
    assert not listed & unread.keys() and "algorithm.local.epochs" in listed

    def metrics(settings: dict[str, object]) -> object:
        return pf.train("planted:40", method=method, rounds=2, seed=1, settings={
            "baselines": [], **settings}).record["metrics"]

    assert metrics(unread) == metrics({})
    assert metrics({"algorithm.local.epochs": 9}) != metrics({})


def test_a_setting_is_explained_and_a_wrong_one_gets_near_ones() -> None:
    (setting,) = json.loads(cli("config", "explain", "dp.epsilon", "--json").stdout)
    assert setting["range"] == "> 0" and setting["default"] == "required"
    wrong = cli("config", "explain", "epsilon")
    assert wrong.returncode == 2 and "dp.epsilon" in wrong.stderr
