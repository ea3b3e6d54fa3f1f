"""`recommend`, `data encode` and cold items through the command line's own functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from experiments.cli import app
from experiments.cli.encode import encode_folder
from experiments.report.page import page
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.data import load
from privfedmm.runs import run as runs
from privfedmm.runs.halves import of_checkpoint
from privfedmm.runs.recommend import recommend
from privfedmm.runs.session import Session
from tests import markup

METHODS: dict[str, dict[str, Any]] = {
    "gfmfr": {"rounds": 7},
    "group_statistics": {"statistics.groups": 4},
    "popularity_profile": {},
    "backbone": {"rounds": 2},
}


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / request.param
    flags = {"method": request.param, "baselines": ["random"], **METHODS[request.param]}
    runs.start(resolve(None, flags), folder, lambda row: None)
    return folder


def test_items_are_the_models_best_without_the_users_own(finished: Path) -> None:
    data = load("planted", k_core=0, seed=0)
    result = recommend(finished, "u7", 10, explain=True)
    session = Session.start(resolve(finished / "config.toml", {}), data)
    checkpoint = torch.load(finished / "checkpoint.pt", weights_only=True)
    _, best = of_checkpoint(finished, checkpoint, session.algorithm)
    assert best is not None
    state, clients = session.algorithm.from_saved(best)
    scores = session.algorithm.scores(state, clients, np.array([7]))[0].numpy().copy()
    scores[data.train.row(7)] = -np.inf
    shown = [int(np.flatnonzero(data.item_ids == item["item_id"])[0]) for item in result["items"]]
    assert not set(shown) & set(data.train.row(7).tolist())
    np.testing.assert_allclose(scores[shown], np.sort(scores)[::-1][:10], rtol=1e-5)
    assert result["items"][0]["title"] == data.items["title"].iloc[shown[0]]


def test_parts_add_up_to_the_score(finished: Path) -> None:
    for item in recommend(finished, "u3", 5, explain=True)["items"]:
        assert sum(item["parts"].values()) == pytest.approx(item["score"], abs=2e-4)
        if "backbone" not in finished.name:
            assert any("text" in name for name in item["parts"])


def test_faults_are_sentences(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no user 'nobody'") as error:
        recommend(finished, "nobody", 5, explain=False)
    assert error.value.code == 2
    with pytest.raises(UserError, match="--top"):
        recommend(finished, "u1", 0, explain=False)
    with pytest.raises(UserError, match="no run folder"):
        recommend(tmp_path, "u1", 5, explain=False)


def test_command_prints_json(finished: Path) -> None:
    done = CliRunner().invoke(
        app, ["recommend", str(finished), "--user", "u1", "--top", "3", "--explain", "--json"])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)["items"]) == 3


def test_cold_items_are_reported_apart(tmp_path: Path) -> None:
    flags = {"rounds": 6, "cold_items": 0.1, "baselines": ["random", "popularity"]}
    record = runs.start(resolve(None, flags), tmp_path / "run", lambda row: None)
    assert record["metrics"]["test_cold"].keys() == record["metrics"]["test"].keys()
    assert record["baselines"]["random"]["test_cold"].keys() == record["metrics"]["test"].keys()
    assert record["cold_items"]["items"] == 24
    assert "24 of 240 items are cold" in record["protocol"]["split_note"]


def test_raw_folder_runs_and_encode_goes_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [f"u{u},i{(u + k) % 12},{k}" for u in range(10) for k in range(6)]
    (folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    items = [f"i{i},{'' if i == 2 else f'Title {i}'}" for i in range(12)]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(items) + "\n", "utf-8")
    flags = {"dataset": str(folder), "k_core": 0, "rounds": 2, "encoders.text_model": "hashing",
             "baselines": ["random"]}
    with pytest.raises(UserError, match=r"item i2 has no text.*--allow-missing"):
        runs.start(resolve(None, flags), tmp_path / "run", lambda row: None)
    with pytest.raises(UserError, match="item i2 has no text"):
        encode_folder(folder, {"text_model": "hashing"}, False, lambda line: None)
    done = encode_folder(
        folder, {"text_model": "hashing", "allow_missing": True}, False, lambda line: None)
    assert done["missing"] == {"text": 1}
    said: list[str] = []
    record = runs.start(resolve(None, {**flags, "encoders.allow_missing": True}),
                        tmp_path / "run", lambda row: None, report=said.append)
    assert said == [], "what was encoded ahead is not encoded again"
    assert record["dataset"]["missing"] == {"text": 1, "every": 1}
    assert "no pretrained model" in record["dataset"]["feature_notes"]["text"]
    assert len(record["dataset"]["feature_sha256"]["text"]) == 64
    top = recommend(tmp_path / "run", "u1", 3, explain=True)
    assert len(top["items"]) == 3
    (folder / "items.csv").write_text(
        "item_id,title\n" + "\n".join(items).replace("Title 5", "Other") + "\n", "utf-8")
    with pytest.raises(UserError, match="have changed since the run"):
        recommend(tmp_path / "run", "u1", 3, explain=False)


def test_a_gallery_shows_the_runs_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rows = [f"u{u},i{(u + k) % 12},{k}" for u in range(10) for k in range(6)]
    (folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", "utf-8")
    (folder / "items.csv").write_text(
        "item_id,title\n" + "\n".join(f"i{i},<b>{i}" for i in range(12)) + "\n", "utf-8")
    for item in range(12):
        Image.new("RGB", (300, 200), (20 * item, 90, 200)).save(folder / "images" / f"i{item}.jpg")
    flags = {"dataset": str(folder), "k_core": 0, "rounds": 2, "encoders.text_model": "hashing",
             "encoders.image_model": "histogram", "baselines": ["random"]}
    runs.start(resolve(None, flags), tmp_path / "run", lambda row: None)
    html = page([tmp_path / "run"], "", "Shop", [], 2)
    # Two users, each with four training items and eight recommended ones of what is left.
    cards = html.count('class="card"')
    assert cards == html.count("data:image/jpeg;base64,") == 2 * (4 + 8)
    assert "&lt;b&gt;" in html and not markup.parse(html).all("b")
    assert "no privacy claim covers it" in html
    # Users of a folder are somebody: nothing of theirs is shown unasked.
    assert 'class="shelf"' not in page([tmp_path / "run"], "", "Shop", [])
