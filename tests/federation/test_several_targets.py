"""Nodes rank every held-out item of a given split as the simulator does, and lies stay out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.deployment import app
from privfedmm.config import RunConfig
from privfedmm.config.resolve import resolve_saved
from privfedmm.data import Shard, read_shard
from privfedmm.evaluation import Places, Ranks, to_arrays
from privfedmm.federation import transport
from privfedmm.federation.codec import decode, encode
from privfedmm.federation.told_ranks import put_together, told_ranks
from privfedmm.runs import run as runs
from privfedmm.runs.finished import read_ranks
from privfedmm.runs.record import Carried
from privfedmm.runs.session import Session
from tests.deployments import NODES
from tests.federation.outcomes import Looped

Settle = Callable[[dict[str, Any]], tuple[RunConfig, Path, Looped]]
USERS, ITEMS = 12, 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Users with one or two validation items and one to four test items."""
    rng, rows = np.random.default_rng(0), []
    for user in range(USERS):
        parts = ["train"] * 6 + ["validation"] * (1 + user % 2) + ["test"] * (1 + user % 4)
        rows += [(f"u{user:02}", f"i{item}", time, part) for time, (part, item) in enumerate(
            zip(parts, rng.permutation(ITEMS)[:len(parts)], strict=True))]
    place = tmp_path / "toy"
    place.mkdir()
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "split"]).to_csv(
        place / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [f"i{n}" for n in range(ITEMS)]}).to_csv(
        place / "items.csv", index=False)
    np.save(place / "text_feat.npy", rng.normal(size=(ITEMS, 5)).astype(np.float32))
    return place


def flags(folder: Path, split: str) -> dict[str, Any]:
    return {"dataset": str(folder), "split": split, "k_core": 0, "method": "popularity", "seed": 5,
            "baselines": ["popularity"], "dp.epsilon": 8.0, "dp.noise": "simulation",
            "evaluation.metrics": ["map@5", "recall@5"]}


@pytest.mark.parametrize("split", ["given", "auto", "leave-one-out"])
def test_metrics_are_the_simulators(
    settled: Settle, folder: Path, tmp_path: Path, split: str
) -> None:
    config, out, loop = settled(flags(folder, split))
    ours = runs.start(config, tmp_path / "simulated", lambda row: None)
    app.play(loop, out, out / "deploy")
    data = runs.load_data(config)
    session = Session.start(config, data, out)
    session.restore(out, data.sha256)
    theirs = runs.conclude(session, data, out, Carried("flower", NODES, 0, "loop", ("ranks",)))
    assert theirs["metrics"] == ours["metrics"] and theirs["protocol"] == ours["protocol"]
    assert ours["protocol"]["targets"]["test"]["max"] == (4 if split == "given" else 1)
    for name, array in to_arrays(read_ranks(tmp_path / "simulated")).items():
        assert (to_arrays(read_ranks(out))[name] == array).all()


def test_a_node_reads_its_rows_as_the_run_splits_them(folder: Path) -> None:
    items = np.array([f"i{n}" for n in range(ITEMS)])

    def counts(shard: Shard) -> tuple[int, int]:
        return len(shard.train.indices), sum(len(r.indices) for r in shard.further.values())

    given, alone = (read_shard(folder, items, 0, by=by) for by in ("given", "leave-one-out"))
    assert counts(given) == (6 * USERS, 6 * 1 + 3 * (1 + 2 + 3))
    assert counts(alone)[1] == 0 and counts(alone)[0] > 6 * USERS


def test_ranks_that_are_none_are_left_out(settled: Settle, folder: Path) -> None:
    """A node that tells one rank too many is noted, and its clients have no ranks."""
    _, out, loop = settled(flags(folder, "given"))

    def lie(kind: str, node: int, body: bytes) -> bytes:
        if (kind, node) != (transport.RANKS, 0):
            return body
        answer = decode(body, ())
        answer["ranks"]["test"] = np.append(answer["ranks"]["test"], np.int32(1))
        return encode(answer)

    loop.after = lie
    server = app.play(loop, out, out / "deploy")
    assert any("cannot be its clients'" in why for log in server.log for why in log.stayed_out)
    config = resolve_saved(out / runs.CONFIG)
    saved = runs.load_data(config)
    session = Session.start(config, saved, out)
    session.restore(out, saved.sha256)
    places = Places.of(session.best_ranks["test"])
    first = USERS // NODES
    assert not places.counts[:first].any() and places.counts[first:].all()


GOOD = Places(np.array([2, 0, 1]), np.array([1, 4, 2], dtype=np.int32))


@pytest.mark.parametrize("change", [
    {"test_counts": np.array([2, 1])}, {"test_counts": np.array([2, 0, 2])},
    {"test_counts": np.array([4, 0, -1])}, {"test": np.array([0, 4, 2], dtype=np.int32)},
    {"test": np.array([4, 1, 2], dtype=np.int32)}, {"test": np.array([1, 1, 2], dtype=np.int32)},
    {"cold": np.array([1, 2, 3])}, {"validation_counts": np.array([1, 1, 1])},
    {"test": np.array([1, 2**40, 2])}])
def test_told_ranks_are_looked_at(change: dict[str, np.ndarray]) -> None:
    arrays = to_arrays({"test": GOOD})
    assert told_ranks(arrays, 3) is not None
    assert told_ranks({**arrays, **change}, 3) is None


def test_parts_are_put_together_by_number() -> None:
    one = np.array([3, 0], dtype=np.int32)
    parts: list[tuple[np.ndarray, Ranks]] = [(np.array([4, 1, 2]), GOOD), (np.array([0, 3]), one)]
    found = put_together(parts, 6)
    assert isinstance(found, Places)
    assert found.counts.tolist() == [1, 0, 1, 0, 2, 0] and found.ranks.tolist() == [3, 2, 1, 4]
    single = put_together([(np.array([3, 0]), one)], 4)
    assert isinstance(single, np.ndarray) and single.tolist() == [0, 0, 0, 3]
