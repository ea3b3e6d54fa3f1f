"""Every built-in layout under the contract, and one of somebody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from privfedmm_example.sqlite_layout import SQLITE

from privfedmm.baselines import baseline_metrics
from privfedmm.data import (
    LAYOUTS,
    DataError,
    Encoding,
    Layout,
    Raw,
    load,
    read_catalogue,
)
from privfedmm.data.raw import Origin, Reading, interactions
from privfedmm.encoders import EncoderSettings
from privfedmm.evaluation import EvalProtocol
from privfedmm.testing.layouts import (
    ITEMS,
    Interaction,
    LayoutContract,
    sample,
    write_gfmfr,
    write_mmrec,
    write_ours,
    write_recbole,
)
from tests.small_tables import save_to_disk
from tests.sqlite_folder import write_sqlite


class TestOurs(LayoutContract):
    layout = LAYOUTS.get("ours")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_ours(folder, rows)


class TestRecBole(LayoutContract):
    layout = LAYOUTS.get("RecBole")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_recbole(folder, rows)


class TestMmrec(LayoutContract):
    layout = LAYOUTS.get("MMRec")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_mmrec(folder, rows)


class TestGfmfr(LayoutContract):
    layout = LAYOUTS.get("GFMFR")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_gfmfr(folder, rows)


def _csv(path: Path, header: str, rows: Sequence[Interaction]) -> None:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class TestMovielens(LayoutContract):
    layout = LAYOUTS.get("MovieLens")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        _csv(folder / "ratings.csv", "userId,movieId,timestamp", rows)
        (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(
            f"{item},Title {item},Drama\n" for item in range(ITEMS)), encoding="utf-8")


class TestTable(LayoutContract):
    layout = LAYOUTS.get("table")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        _csv(folder / "log.csv", "uid,iid,ts", rows)


class TestOnDisk(LayoutContract):
    layout = LAYOUTS.get("datasets")

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        pytest.importorskip("pyarrow", reason="data sets on disk need the extra `tables`")
        table = pd.DataFrame(list(rows), columns=["user_id", "item_id", "timestamp"])
        save_to_disk(folder / "part", table.astype({"timestamp": "int64"}))
        for file in list((folder / "part").iterdir()):
            file.rename(folder / file.name)
        (folder / "part").rmdir()


_FILE = "events.jsonl"


def _read_events(folder: Path, reading: Reading) -> Raw:
    """One JSON object a line: who, what, when."""
    path = folder / _FILE
    try:
        events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise DataError(f"{path.name} is not JSON ({error}); write one object a line") from error
    table = pd.DataFrame(events, columns=["who", "what", "when"], dtype=str)
    columns = {"user": "who", "item": "what", "time": "when"}
    rows = interactions(table, Origin(path.name, first=1), columns, {}, reading)
    items = pd.DataFrame(index=pd.Index(rows.frame["item"].unique()))
    return Raw(folder.name, path.name, rows.frame, items)


EVENTS = Layout(
    name="events",
    summary=f"{_FILE} (who, what, when)",
    reference="this test",
    recognises=lambda folder: (folder / _FILE).exists(),
    read=_read_events,
    files=(_FILE,),
)


def write_events(folder: Path, rows: Sequence[Interaction]) -> None:
    lines = [json.dumps({"who": u, "what": i, "when": str(t)}) for u, i, t in rows]
    (folder / _FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


class TestSqlite(LayoutContract):
    layout = SQLITE

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_sqlite(folder, rows)


class TestEvents(LayoutContract):
    layout = EVENTS

    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        write_events(folder, rows)


@pytest.fixture
def registered() -> Iterator[Layout]:
    yield LAYOUTS.register(EVENTS)
    LAYOUTS.forget(EVENTS.name)


def test_a_registered_layout_is_read_like_ours(registered: Layout, tmp_path: Path) -> None:
    for name, write in (("events", write_events), ("ours", write_ours)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, sample())
    (tmp_path / "ours" / "smell_feat.npy").unlink()
    (tmp_path / "ours" / "items.csv").unlink()
    theirs, ours = (load(str(tmp_path / name), k_core=0, seed=0) for name in ("events", "ours"))
    assert theirs.sha256 == ours.sha256 and theirs.name == "events"
    assert baseline_metrics(theirs, ["popularity"], 0, EvalProtocol())["popularity"]["test"]


def test_a_registered_layout_has_its_line_numbers(registered: Layout, tmp_path: Path) -> None:
    write_events(tmp_path, [*sample()[:4], ("ann", "", 1)])
    with pytest.raises(DataError, match=r"events\.jsonl line 5 holds an empty item id"):
        load(str(tmp_path), k_core=0, seed=0)


def test_a_folder_of_no_layout_is_told_of_all(registered: Layout, tmp_path: Path) -> None:
    sentence = r"(?s)fits no known layout.*  ours: interactions\.csv.*  events: events\.jsonl"
    with pytest.raises(DataError, match=sentence):
        load(str(tmp_path), k_core=0, seed=0)
    write_gfmfr(tmp_path, sample())
    write_events(tmp_path, sample())
    with pytest.raises(DataError, match="fits several layouts: GFMFR, events; it holds"):
        load(str(tmp_path), k_core=0, seed=0)


def test_rows_of_a_registered_layout_are_refused_beside_a_catalogue(
    registered: Layout, tmp_path: Path
) -> None:
    """Whoever invites to a run has items alone; users' rows in no layout may lie there."""
    write_ours(tmp_path, sample())
    (tmp_path / "interactions.csv").unlink()
    how = Encoding(EncoderSettings(), tmp_path / "cache")
    assert len(read_catalogue(tmp_path, how).items)
    write_events(tmp_path, sample())
    with pytest.raises(DataError, match=r"holds events\.jsonl: users' rows stay with their nodes"):
        read_catalogue(tmp_path, how)
    unnamed = replace(EVENTS, name="unnamed", files=())
    LAYOUTS.forget(EVENTS.name)
    LAYOUTS.register(unnamed)
    try:
        with pytest.raises(DataError, match="holds interactions in the layout unnamed: users'"):
            read_catalogue(tmp_path, how)
    finally:
        LAYOUTS.forget(unnamed.name)
        LAYOUTS.register(EVENTS)


def _read_numbers(folder: Path, reading: Reading) -> Raw:
    raw = _read_events(folder, reading)
    raw.frame["user"] = raw.frame["user"].str.lstrip("0")
    return raw


def _read_anything(folder: Path, reading: Reading) -> Raw:
    try:
        return _read_events(folder, reading)
    except DataError:
        nobody = pd.DataFrame({"user": ["a"] * 3, "item": ["0", "1", "2"], "line": [1, 2, 3]})
        return Raw(folder.name, _FILE, nobody, pd.DataFrame(index=pd.Index(nobody["item"])))


def test_the_contract_finds_ids_read_as_numbers(tmp_path: Path) -> None:
    class Numbers(TestEvents):
        layout = replace(EVENTS, read=_read_numbers)

    with pytest.raises(AssertionError):
        Numbers().test_ids_are_text_and_rows_keep_their_order(tmp_path)


def test_the_contract_finds_faults_that_are_let_pass(tmp_path: Path) -> None:
    class Anything(TestEvents):
        layout = replace(EVENTS, read=_read_anything)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        Anything().test_faulty_rows_get_a_sentence("an empty item id", tmp_path)


def test_the_contract_finds_a_layout_that_claims_every_folder(tmp_path: Path) -> None:
    class Greedy(TestEvents):
        layout = replace(EVENTS, recognises=lambda folder: any(folder.iterdir()))

    with pytest.raises(AssertionError, match="this folder is in the layout ours"):
        Greedy().test_it_recognises_its_own_folders_only(tmp_path)
