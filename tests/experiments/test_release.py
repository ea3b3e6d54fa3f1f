"""What of a run may be given away: the two halves of its folder, the bundle, its readers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privfedmm.assemble import algorithm_of, plan_of
from privfedmm.base.arrays import load_arrays, save_arrays
from privfedmm.base.errors import UserError
from privfedmm.config import resolve
from privfedmm.data import Dataset, load, read_own_rows
from privfedmm.data.raw import Reading
from privfedmm.federation import Saved
from privfedmm.releases.bundle import Bundle, release
from privfedmm.releases.device import recommend_own
from privfedmm.runs import run as runs
from privfedmm.runs.recommend import recommend, restored
from tests.commands import cli

FILES = {"bundle.json", "config.toml", "items.csv", "items.npz", "ledger.json", "model.npz",
         "record.json", "statement.json"}
METHODS: dict[str, dict[str, Any]] = {
    "group_statistics": {"statistics.groups": 3, "statistics.association_rank": 4},
    "gfmfr": {"rounds": 2},
    "backbone": {"rounds": 2, "dp.unit": "interaction", "algorithm.local.epochs": 2},
}
DATA = "planted:90"


def _silent(text: str) -> None:
    pass


@pytest.fixture(scope="module", params=METHODS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("released") / request.param
    runs.start(resolve(None, {"dataset": DATA, "method": request.param, "dp.epsilon": 4.0,
                              "baselines": ["popularity"], **METHODS[request.param]}),
               out, lambda row: None)
    return out


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Path:
    out = finished.with_name(finished.name + "-bundle")
    release(finished, out, False, _silent)
    return out


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(DATA, k_core=0, seed=0)


def _rows(data: Dataset, user: int, path: Path) -> Path:
    """A user's own training rows in the order of time, as the user would have them."""
    start, stop = data.train.indptr[user:user + 2]
    items = data.train.indices[start:stop]
    if data.train_age is not None:
        items = items[np.argsort(-data.train_age[start:stop])]
    path.write_text("item_id\n" + "".join(f"{data.item_ids[i]}\n" for i in items), "utf-8")
    return path


def test_a_run_folder_has_two_halves(finished: Path) -> None:
    assert (finished / "devices").stat().st_mode & 0o777 == 0o700
    held = list((finished / "devices").iterdir())
    assert len([f for f in held if f.name.startswith("round-")]) == 1
    for file in (*held, finished / "checkpoint.pt", finished / "run.key"):
        assert file.stat().st_mode & 0o777 == 0o600
    users = load(DATA, k_core=0, seed=0).num_users
    assert all(users not in shape for shape in _shapes(load_arrays(finished / "model.npz")))
    checkpoint = torch.load(finished / "checkpoint.pt", weights_only=True)
    assert not any(users in shape for shape in _shapes(checkpoint["model"]))
    sums = torch.load(finished / "release.pt", weights_only=True)["sums"]
    # What noisy training left on the devices is theirs.
    assert not any(users in shape for shape in _shapes(sums))


def _shapes(values: Any) -> list[tuple[int, ...]]:
    if isinstance(values, dict):
        return [shape for value in values.values() for shape in _shapes(value)]
    return [tuple(values.shape)] if isinstance(values, torch.Tensor) else []


def test_a_bundle_holds_what_the_claim_covers(finished: Path, bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == FILES
    record = json.loads((bundle / "record.json").read_text(encoding="utf-8"))
    whole = json.loads((finished / "record.json").read_text(encoding="utf-8"))
    assert record["privacy"]["epsilon"] == whole["privacy"]["epsilon"] <= 4.0
    for name in ("metrics", "baselines", "groups", "costs", "cold_items", "best_round"):
        assert name not in record
    text = "".join(path.read_text("utf-8") for path in bundle.iterdir()
                   if path.suffix in (".json", ".toml", ".csv"))
    for secret in (whole["dataset"]["sha256"], '"ndcg@50":', "simulation_only", "u17"):
        assert secret not in text
    assert (bundle / "model.npz").read_bytes() == (finished / "model.npz").read_bytes()
    done = cli("audit", str(bundle), "--parts", "budget")
    assert done.returncode == 0, done.stderr
    (bundle / "audit.json").unlink()


def test_a_report_takes_no_bundle_for_a_run(
    finished: Path, bundle: Path, tmp_path: Path
) -> None:
    done = cli("report", str(bundle))
    assert done.returncode == 2
    assert "is a bundle, which holds no user's ranks; give the folder of the run" in " ".join(
        done.stderr.split())
    shutil.copytree(finished, tmp_path / "run")
    alone = cli("report", str(tmp_path)).stdout
    shutil.copytree(bundle, tmp_path / "run-bundle")
    assert "ndcg@50" in alone and cli("report", str(tmp_path)).stdout == alone


def test_a_device_finds_its_recommendations_from_the_bundle(
    finished: Path, bundle: Path, data: Dataset, tmp_path: Path
) -> None:
    mine = _rows(data, 7, tmp_path / "my.csv")
    found = recommend_own(bundle, mine, 10, False)
    assert found["claim"][0].startswith("epsilon 4") and found["training_items"] == 20
    own = {data.item_ids[i] for i in data.train.row(7)}
    assert not own & {item["item_id"] for item in found["items"]}
    inside = recommend(finished, "u7", 10, False)["items"]
    if "rounds" not in METHODS[finished.name]:
        # Of released sums alone the same device comes out to the last digit that is shown.
        assert [i["item_id"] for i in found["items"]] == [i["item_id"] for i in inside]
        assert [i["score"] for i in found["items"]] == pytest.approx(
            [i["score"] for i in inside], abs=1e-4)
    explained = recommend_own(bundle, mine, 3, True)["items"][0]
    assert sum(explained["parts"].values()) == pytest.approx(explained["score"], abs=1e-3)


def test_the_command_needs_a_user_or_rows(bundle: Path, data: Dataset, tmp_path: Path) -> None:
    mine = _rows(data, 3, tmp_path / "my.csv")
    done = cli("recommend", str(bundle), "--rows", str(mine), "--top", "4", "--json")
    assert done.returncode == 0 and "what the model claims: epsilon 4" in done.stderr
    assert len(json.loads(done.stdout)["items"]) == 4
    assert cli("recommend", str(bundle)).returncode == 2
    done = cli("recommend", str(bundle), "--user", "u3")
    assert done.returncode == 2 and "there are no users" in " ".join(done.stderr.split())


def test_own_rows_are_taken_as_those_of_the_run(data: Dataset, tmp_path: Path) -> None:
    """A least rating and names of columns hold, where the file has ratings and such names."""
    mine = _rows(data, 7, tmp_path / "my.csv")
    lines = mine.read_text().splitlines()
    rated = [lines[0] + ",stars", *(f"{line},{n % 2}" for n, line in enumerate(lines[1:]))]
    mine.write_text("\n".join(rated).replace("item_id", "what", 1) + "\n")
    reading = Reading({"item": "what", "user": "who"}, min_rating=1)
    half, _ = read_own_rows(mine, data.item_ids, False, reading)
    assert len(half.train.indices) == (len(lines) - 1) // 2
    # Without a least rating every row counts, whatever the ratings look like.
    every, _ = read_own_rows(mine, data.item_ids, False, replace(reading, min_rating=None))
    bare = _rows(data, 7, tmp_path / "bare.csv")
    without, _ = read_own_rows(bare, data.item_ids, False, reading)
    assert every.train.indices.tolist() == without.train.indices.tolist()
    assert len(without.train.indices) == len(lines) - 1


def test_rows_that_do_not_fit_are_sentences(bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "my.csv"
    for text, sentence in (
        ("item_id\nnothing\n", "names none of the 240 items"),
        ("movie\ni1\n", "no column item_id"),
        ("user_id,item_id\na,i1\nb,i2\n", "rows of 2 users"),
        ("item_id\ni1\ni1\n", "paired on line 2 already"),
    ):
        mine.write_text(text, "utf-8")
        with pytest.raises(UserError, match=sentence):
            recommend_own(bundle, mine, 3, False)
    mine.write_text("item_id\ni1\nelsewhere\n", "utf-8")
    assert recommend_own(bundle, mine, 3, False)["rows_of_unknown_items"] == 1


@pytest.mark.parametrize("name", ["model.npz", "bundle.json"])
def test_a_changed_bundle_is_refused(name: str, bundle: Path, data: Dataset, tmp_path: Path
                                     ) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    if name == "bundle.json":
        about = json.loads((copy / name).read_text("utf-8"))
        (copy / name).write_text(json.dumps({**about, "users": 5}), "utf-8")
    else:
        (copy / name).write_bytes((copy / name).read_bytes() + b"\n")
    with pytest.raises(UserError, match="is no whole bundle"):
        recommend_own(copy, _rows(data, 3, tmp_path / "my.csv"), 3, False)


POPULAR = {"dataset": DATA, "method": "popularity", "baselines": []}


def test_what_protects_nobody_is_refused_or_marked(tmp_path: Path) -> None:
    for name, flags, sentence in (
        ("open", {}, "without a budget"),
        ("inf", {"dp.epsilon": float("inf")}, "without a budget"),
        ("simulated", {"dp.epsilon": 2.0, "dp.noise": "simulation"}, "follows from the seed"),
    ):
        run, out = tmp_path / name, tmp_path / f"{name}-bundle"
        runs.start(resolve(None, {**POPULAR, **flags}), run, lambda row: None)
        with pytest.raises(UserError, match=sentence):
            release(run, out, False, _silent)
        assert not out.exists()
        said: list[str] = []
        release(run, out, True, said.append)
        assert said[0].startswith("epsilon: none (")
        assert {path.name for path in out.iterdir()} == FILES - {"statement.json"}
        assert Bundle.read(out).claim[0].startswith("none: ")
        assert json.loads((out / "record.json").read_text("utf-8"))["privacy"]["epsilon"] is None


def test_what_is_unfinished_changed_or_there_is_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match="there exists"):
        release(finished, tmp_path / "there", False, _silent)
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    config = copy / "config.toml"
    text = config.read_text("utf-8")
    config.write_text(text.replace("epsilon = 4.0", "epsilon = 9.0"), "utf-8")
    with pytest.raises(UserError, match=r"dp\.epsilon is 9\.0, and the ledger commits to 4.0"):
        release(copy, tmp_path / "out", False, _silent)
    config.write_text(text, "utf-8")
    (copy / "record.json").unlink()
    with pytest.raises(UserError, match="is not finished"):
        release(copy, tmp_path / "out", False, _silent)
    assert cli("release", str(finished), str(tmp_path / "new")).returncode == 0


def _auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """How often an item that a user has stands above one that it lacks, over users."""
    ranks = scores.argsort(1).argsort(1) + 1.0
    have = truth.sum(1)
    wins = (ranks * truth).sum(1) - have * (have + 1) / 2
    return float((wins / (have * (truth.shape[1] - have))).mean())


def test_who_has_which_item_is_told_by_devices_and_not_by_the_bundle(tmp_path: Path) -> None:
    """Membership: the bundle tells what the release tells, the devices' half tells more."""
    config = resolve(None, {"dataset": "planted:300", "method": "taste", "dp.epsilon": 2.0,
                            "dp.noise": "simulation", "baselines": []})
    run, out = tmp_path / "run", tmp_path / "bundle"
    runs.start(config, run, lambda row: None)
    release(run, out, True, _silent)
    data = runs.load_data(config)
    ids, truth = np.arange(data.num_users), np.zeros((data.num_users, data.num_items))
    for user in range(data.num_users):
        truth[user, data.train.row(user)] = 1
    sums = torch.load(run / "release.pt", weights_only=True)["sums"]["item_counts"][:, 0].numpy()
    by_release = _auc(np.broadcast_to(sums, truth.shape), truth)
    algorithm = algorithm_of(config, data, plan_of(config, data))
    nobody = algorithm.to_saved(algorithm.initial_state(), algorithm.initial_clients()).devices
    state, _ = algorithm.from_saved(Saved(Bundle.read(out).model, nobody))
    # All that scores can be made of without a device: the counts, the same for every user.
    by_bundle = _auc(np.broadcast_to(state.counts.numpy(), truth.shape), truth)
    theirs, state, clients, _ = restored(run, config, data)
    by_devices = _auc(theirs.scores(state, clients, ids).numpy(), truth)
    assert by_bundle == pytest.approx(by_release, abs=0.01)
    assert by_devices > by_bundle + 0.05
    # Not one value in the bundle is a user's: its arrays are the release's, or about items.
    assert set(_shapes(load_arrays(out / "model.npz"))) <= {(240,), (0, 0), (1, 240)}


def test_arrays_come_out_as_they_went_in(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "a": {"b": torch.arange(6).reshape(2, 3), 0: {"c": torch.tensor(1.5)}}, "n": None, "k": 3,
        "empty": {}, "list": [1, "x"], "flag": torch.tensor([True])}
    save_arrays(tmp_path / "one.npz", values)
    save_arrays(tmp_path / "two.npz", values)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    found = load_arrays(tmp_path / "one.npz")
    assert torch.equal(found["a"]["b"], values["a"]["b"])
    assert found["a"][0]["c"] == 1.5 and found["flag"].dtype == torch.bool
    assert {n: found[n] for n in ("n", "k", "empty", "list")} == {
        "n": None, "k": 3, "empty": {}, "list": [1, "x"]}
    with pytest.raises(ValueError, match="may not hold a /"):
        save_arrays(tmp_path / "bad.npz", {"a/b": 1})
    (tmp_path / "cut.npz").write_bytes((tmp_path / "one.npz").read_bytes()[:90])
    with pytest.raises(ValueError, match="is damaged"):
        load_arrays(tmp_path / "cut.npz")


@pytest.mark.parametrize("method", ["gfmfr", "backbone"])
def test_a_folder_from_before_the_halves_goes_on(method: str, tmp_path: Path) -> None:
    """Its checkpoint holds clients and state side by side."""
    config = resolve(None, {"dataset": "planted:60", "method": method, "rounds": 2,
                            "baselines": []})
    whole = runs.start(config, tmp_path / "whole", lambda row: None)
    out = tmp_path / "run"
    runs.start(config, out, lambda row: None)
    top = recommend(out, "u7", 5, False)
    saved = torch.load(out / "checkpoint.pt", weights_only=True)
    held = torch.load(out / "devices" / f"round-{saved.pop('devices')}.pt", weights_only=True)
    saved["model"] |= {"clients": held["now"]["clients"]}
    saved["best_model"] |= {"clients": held["best"]["clients"]}
    del saved["best_groups"]
    torch.save(saved, out / "checkpoint.pt")
    shutil.rmtree(out / "devices")
    (out / "model.npz").unlink()
    assert recommend(out, "u7", 5, False) == top
    assert cli("report", str(out)).returncode == 0
    assert cli("audit", str(out), "--parts", "budget").returncode == 0
    with pytest.raises(UserError, match=r"has no model\.npz"):
        release(out, tmp_path / "bundle", True, _silent)
    (out / "record.json").unlink()
    assert runs.resume(out, lambda row: None)["metrics"] == whole["metrics"]


def test_a_lost_half_is_a_sentence(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished, tmp_path / "copy"))
    shutil.rmtree(copy / "devices")
    with pytest.raises(UserError, match="without what devices keep their users have no model"):
        recommend(copy, "u7", 5, False)
