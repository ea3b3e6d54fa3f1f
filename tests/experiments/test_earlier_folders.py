"""Run folders from before openings, mixes and their settings mean what they meant."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from privfedmm.config import as_meant, resolve, resolve_saved
from privfedmm.runs import run as runs
from privfedmm.runs.identity import settings_of

# What there was not, by dotted path.
LATER = ("mix", "encoders.metadata", "algorithm.opening", "algorithm.local.unit_updates",
         "statistics.shrink_popularity", "statistics.noiseless_rank")
AS_IT_WAS = {"encoders.metadata": False, "mix.on": False, "algorithm.opening.on": False,
             "statistics.shrink_popularity": False, "statistics.noiseless_rank": 0,
             "statistics.association_weight": 0.3}


def earlier(values: dict[str, Any]) -> dict[str, Any]:
    """Nested settings without what was added later."""
    out: dict[str, Any] = json.loads(json.dumps(values))
    for path in LATER:
        *parents, leaf = path.split(".")
        inner = out
        for parent in parents:
            inner = inner.get(parent, {})
        inner.pop(leaf, None)
    return out


@pytest.fixture(params=["gfmfr", "group_statistics"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A finished run as an earlier version left it."""
    out = tmp_path / "run"
    rounds = {"rounds": 3} if request.param == "gfmfr" else {}
    runs.start(resolve(None, {"dataset": "planted:60", "method": request.param, "seed": 1,
                              "baselines": [], **rounds, **AS_IT_WAS}), out, lambda row: None)
    config = out / runs.CONFIG
    config.write_text(tomli_w.dumps(earlier(tomllib.loads(config.read_text()))))
    record = json.loads((out / "record.json").read_text())
    record["config"] = earlier(record["config"])
    (out / "record.json").write_text(json.dumps(record))
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    saved["config"] = json.dumps(earlier(json.loads(saved["config"])))
    torch.save(saved, out / "checkpoint.pt")
    return out


def test_a_config_that_does_not_say_means_what_there_was(folder: Path) -> None:
    meant = resolve_saved(folder / runs.CONFIG)
    assert not (meant.mix.on or meant.algorithm.opening.on or meant.encoders.metadata)
    assert not meant.statistics.shrink_popularity and not meant.statistics.noiseless_rank
    record = json.loads((folder / "record.json").read_text())
    before = json.dumps(record["config"])
    assert as_meant(record["config"]) == meant.model_copy(update={"dataset": meant.dataset})
    settings = settings_of(record, folder)
    assert settings["mix.on"] is False and settings["algorithm.opening.on"] is False
    assert json.dumps(record["config"]) == before, "reading changes nothing"


def test_it_is_read_again_and_goes_on(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    assert runs.resume(folder, lambda row: None)["metrics"] == record["metrics"]
    (folder / "record.json").unlink()
    again = runs.resume(folder, lambda row: None)
    assert again["metrics"] == record["metrics"] and again["mix"] is None
