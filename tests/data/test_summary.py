"""What was read, dropped and guessed is told in eight lines; under a budget without the rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.data import Dataset, load
from privfedmm.data.summary import KINDS, Summary
from tests.commands import BARE, cli
from tests.small_tables import ITEMS, rows


def folder(place: Path, table: pd.DataFrame) -> Path:
    place.mkdir(exist_ok=True)
    table.to_csv(place / "interactions.csv", index=False)
    pd.DataFrame({"item_id": [str(i) for i in range(ITEMS)]}).to_csv(
        place / "items.csv", index=False)
    np.save(place / "smell_feat.npy", np.arange(ITEMS * 3).reshape(ITEMS, 3) ** 0.5)
    np.save(place / "notes.npy", np.arange(3))
    return place


def said(data: Dataset) -> dict[str, str]:
    assert data.summary is not None
    return {line[:11].strip(): line[11:] for line in data.summary.sentences()}


def test_eight_lines_at_most_and_all_that_happened(tmp_path: Path) -> None:
    table = pd.concat([rows(), rows().iloc[[2, 3]]]).assign(mood="good")
    place = folder(tmp_path / "set", table)
    data = load(str(place), k_core=2, seed=0, max_users=5)
    lines = said(data)
    assert tuple(lines) == KINDS and len(KINDS) <= 8
    assert "ours layout: interactions.csv" in lines["read"] and "32 rows" in lines["read"]
    assert "not used: mood" in lines["columns"]
    assert "2 rows dropped" in lines["duplicates"]
    assert "5 of 6 users, drawn at random" in lines["filter"] and "2-core" in lines["filter"]
    assert "leave-one-out by time" in lines["split"] and "5 test" in lines["split"]
    assert "smell 3 from smell_feat.npy" in lines["content"]
    assert "not read: notes.npy (notes.npy must be a matrix" in lines["content"]


def test_tables_in_memory_have_one_and_stay_as_they_are() -> None:
    data = Dataset.from_pandas(
        rows(), pd.DataFrame({"item_id": [str(i) for i in range(ITEMS)]}), k_core=0)
    assert "a table in memory" in said(data)["read"]
    assert data.over_catalogue is not None
    first, second = (said(data.over_catalogue(unit="user")) for _ in range(2))
    assert first == second  # nothing is added to what was read


@pytest.mark.parametrize("unit", ["user", "interaction"])
def test_under_a_budget_no_row_shows_in_it(unit: str, tmp_path: Path) -> None:
    """Whoever is left out, in whatever way the rows are odd, the summary is the same."""
    table = pd.concat([rows(), rows().iloc[[2]].assign(rating=9)])
    table = table.assign(timestamp=np.where(table["user_id"] == "12", 1, 0) + table["timestamp"])
    place = folder(tmp_path / "set", table)

    def told() -> list[object]:
        data = load(str(place), k_core=2, seed=0, unit=unit)  # type: ignore[arg-type]
        assert data.summary is not None and data.summary.private
        return [data.summary.sentences(), data.summary.to_json()]

    before = told()
    assert not any("values" in line for line in before[1])  # type: ignore[attr-defined]
    # Users and items of a catalogue are public, so everybody is named in users.csv.
    pd.DataFrame({"user_id": table["user_id"].unique()}).to_csv(place / "users.csv", index=False)
    for user in table["user_id"].unique():
        folder(place, table[table["user_id"] != user])
        assert told() == before
    open_ = load(str(folder(place, table)), k_core=0, seed=0).summary
    less = load(str(folder(place, rows())), k_core=0, seed=0).summary
    assert open_ is not None and less is not None and open_.to_json() != less.to_json()


def test_a_run_prints_and_records_it(tmp_path: Path) -> None:
    place = folder(tmp_path / "set", rows())
    flags = ("run", "--dataset", str(place), "--k-core", "0", "--method", "popularity", *BARE)
    done = cli(*flags, "--out", str(tmp_path / "run"), "--min-rating", "2", "--k-core", "1")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    kept = {line["kind"]: line for line in record["dataset"]["summary"]}
    assert "rows with rating of at least 2 count" in kept["ratings"]["text"]
    assert kept["ratings"]["values"]["rows"] == len(rows())
    for line in record["dataset"]["summary"]:
        assert line["text"] in done.stderr
    private = cli(*flags, "--dp-epsilon", "8", "--noise", "simulation",
                  "--out", str(tmp_path / "private"))
    assert private.returncode == 0, private.stderr
    record = json.loads((tmp_path / "private" / "record.json").read_text())
    assert all(set(line) == {"kind", "text"} for line in record["dataset"]["summary"])
    assert "30 rows" in done.stderr and "30 rows" not in private.stderr


def test_data_check_says_it_alone_with_a_picture(tmp_path: Path) -> None:
    place = folder(tmp_path / "set", rows())
    done = cli("data", "check", str(place), "--k-core", "0")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("read") and "30 rows" in lines[0]
    assert "activity: interactions of 6 users, 5 to 5, median 5" in lines
    assert any("4 to 7 ██████████████████████████████ 6" in line for line in lines)
    found = json.loads(cli("data", "check", str(place), "--k-core", "0", "--json").stdout)
    assert found["activity"]["bins"] == [[4, 7, 6]]
    assert sum(count for _, _, count in found["popularity"]["bins"]) == ITEMS
    assert [line["kind"] for line in found["summary"]] == [
        "read", "columns", "times", "ratings", "duplicates", "filter", "split", "content"]
    wrong = cli("data", "check", str(place), "--columns", "user=who")
    assert wrong.returncode == 2 and "no column 'who'" in wrong.stderr
    assert "generated" in cli("data", "check", "planted:40").stdout


def test_texts_are_named_and_not_encoded_by_data_check(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "interactions.csv", index=False)
    pd.DataFrame({"item_id": range(ITEMS), "title": "x"}).to_csv(
        tmp_path / "items.csv", index=False)
    done = cli("data", "check", str(tmp_path), "--k-core", "0")
    assert "text: there, not encoded" in done.stdout


def test_the_front_door_reads_a_file_with_names(tmp_path: Path) -> None:
    rows().rename(columns={"user_id": "who"}).to_csv(tmp_path / "x.csv", index=False)
    data = pf.load(tmp_path / "x.csv", columns={"user": "who"}, k_core=0, duplicates="error")
    assert "user = who" in said(data)["columns"]
    assert isinstance(data.summary, Summary)
