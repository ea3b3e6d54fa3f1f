"""`privfedmm demo` end to end, the data it shows, and reasons against the parts they are read from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from privfedmm.baselines.centralised import ease
from privfedmm.baselines.content import public_features
from privfedmm.data import (
    CINEMA_SEED,
    CinemaShape,
    Dataset,
    cinema,
    cinema_images,
    find_source,
    load,
    planted_images,
)
from privfedmm.data.planted import DATA_SEED, PlantedShape
from privfedmm.evaluation import EvalProtocol, Scorer, evaluate, gains
from privfedmm.runs.reasons import reason
from tests.commands import cli

DATA = load("cinema", k_core=5, seed=0)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    out = tmp_path_factory.mktemp("demo") / "run"
    done = cli("demo", "--out", str(out), "--user", "u7")
    assert done.returncode == 0, done.stderr
    return out, done.stdout, done.stderr


def test_it_shows_progress_the_table_and_three_films_with_pictures_and_reasons(
    shown: tuple[Path, str, str]
) -> None:
    out, told, progress = shown
    record = json.loads((out / "record.json").read_text())
    assert "round 1:" in progress and "evaluations in a row" in " ".join(progress.split())
    for line in ("gfmfr (mf)", "random", "popularity", "public_features", "ease"):
        assert line in progress
    assert record["baselines"].keys() >= {"popularity", "public_features", "ease"}
    lines = told.splitlines()
    pictures = [Path(line.split("picture: ")[1]) for line in lines if "picture: " in line]
    assert len(pictures) == 3 and sum(line.startswith("     why: ") for line in lines) == 3
    drawn = cinema_images(CINEMA_SEED, CinemaShape())
    for file in pictures:
        assert file.parent == out / "pictures"
        index = DATA.item_ids.tolist().index(file.stem)
        with Image.open(file) as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(drawn[index]))
        assert index not in DATA.train.row(7)
    shown_again = json.loads(cli("recommend", str(out), "--user", "u7", "--top", "3",
                                 "--explain", "--json").stdout)["items"]
    assert [item["item_id"] for item in shown_again] == [file.stem for file in pictures]
    for item in shown_again:
        assert f"why: {item['reason']}" in told and item["title"] in told


def test_what_it_says_to_try_next_works(shown: tuple[Path, str, str], tmp_path: Path) -> None:
    _, told, _ = shown
    commands = [line.split("#")[0].split()[1:] for line in told.splitlines()
                if line.startswith("  privfedmm ")]
    assert [command[0] for command in commands] == ["recommend", "run"]
    done = cli(*commands[0])
    assert done.returncode == 0 and "1. " in done.stdout
    private = cli(*commands[1], "--out", str(tmp_path / "private"))
    assert private.returncode == 0, private.stderr
    assert json.loads((tmp_path / "private" / "record.json").read_text())["dp_epsilon"] == 2.0


def test_an_unknown_user_is_refused_before_the_work(tmp_path: Path) -> None:
    done = cli("demo", "--user", "nobody", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "--user: there is no user 'nobody'" in done.stderr


def test_a_reason_tells_what_lifts_an_item_above_the_average() -> None:
    titles = DATA.items["title"].tolist()
    text = np.zeros(DATA.num_items)
    text[5] = 2.0
    parts = {"trained tables": np.full(DATA.num_items, -3.0), "text profile": text,
             "image profile": -text}
    told = reason(DATA, 0, 5, parts, titles)
    likes, dislikes = told.split("; ")
    unit = DATA.features["text"] - DATA.features["text"].mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    own = DATA.train.row(0)
    nearest = titles[int(own[np.argmax(unit[own] @ unit[5])])]
    assert likes == f"its text is like the user's own items', most of all {nearest!r} (+2.00)"
    assert dislikes == "its image is unlike the user's own items' (-2.00)"
    # A taste reads the same items; what is no modality keeps its name, or has one for people.
    other = {"text taste": text, "image taste": -text, "associations": text, "popularity": text}
    assert reason(DATA, 0, 5, other, titles).split("; ") == [
        likes, "what goes with the user's own items speaks for it (+2.00)",
        "popularity speaks for it (+2.00)", dislikes]
    flat = {"trained tables": np.full(DATA.num_items, -3.0)}
    assert reason(DATA, 0, 5, flat, titles) == "nothing sets it apart from the average item"


# The data set -----------------------------------------------------------------------------------


def test_cinema_is_always_the_same() -> None:
    assert load("cinema", k_core=0, seed=7).sha256 == DATA.sha256
    assert cinema(CINEMA_SEED + 1, CinemaShape()).sha256 != DATA.sha256
    assert DATA.public_items and DATA.train.counts.tolist() == [12] * 400
    held = np.stack([DATA.validation, DATA.test])
    for user in range(DATA.num_users):
        assert len({*DATA.train.row(user).tolist(), *held[:, user].tolist()}) == 14


def test_late_films_are_rare_in_training_alone() -> None:
    assert DATA.truth is not None
    late = DATA.truth.fresh_items
    counts = np.bincount(DATA.train.indices, minlength=DATA.num_items)
    assert late.mean() == 0.2 and counts[late].mean() < 0.25 * counts[~late].mean()
    held = late[np.concatenate([DATA.validation, DATA.test])].mean()
    assert 0.15 < held < 0.35


def gains_of(data: Dataset, score: Scorer) -> np.ndarray:
    found = evaluate(score, data.train, {"validation": data.validation, "test": data.test},
                     EvalProtocol())
    return gains(found.ranks["test"], 50)


def test_content_misses_moods_and_interactions_miss_late_films() -> None:
    data, moody = DATA, cinema(CINEMA_SEED, CinemaShape(mood=3.0))
    assert data.truth is not None
    late = data.truth.fresh_items[data.test]
    content = gains_of(data, public_features(data.train, data.features))
    others = gains_of(data, ease(data.train, data.num_items, 200.0))
    # Late films: interactions alone rank them badly, content as well as any.
    assert others[late].mean() < 0.3 * others[~late].mean()
    assert content[late].mean() > 2 * others[late].mean()
    assert content[~late].mean() < others[~late].mean()
    # Where moods decide more, content tells less and other users more.
    assert gains_of(moody, public_features(moody.train, moody.features)).mean() < content.mean()
    assert gains_of(moody, ease(moody.train, moody.num_items, 200.0)).mean() > others.mean()


@pytest.mark.parametrize(("name", "images"), [
    ("cinema", lambda: cinema_images(CINEMA_SEED, CinemaShape())),
    ("planted", lambda: planted_images(DATA_SEED, PlantedShape())),
    ("planted:40", lambda: planted_images(DATA_SEED, PlantedShape(users=40)))])
def test_built_in_sets_have_a_picture_for_each_item(name: str, images: Any) -> None:
    found = find_source(name)
    assert found is not None and found[0].pictures is not None and found[0].invented
    drawn = found[0].pictures(found[1])
    assert len(drawn) == load(name, k_core=0, seed=0).num_items
    np.testing.assert_array_equal(np.asarray(drawn[3]), np.asarray(images()[3]))
