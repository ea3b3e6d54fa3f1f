"""Columns by name, duplicates, ratings and times: what is taken, what is said, what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import privfedmm as pf
from privfedmm.base.errors import UserError
from privfedmm.config import resolve, to_toml
from privfedmm.data import DataError, Dataset, load
from privfedmm.data.raw import NAMES, Line, Reading, read_rows
from privfedmm.data.raw.columns import column_of, key
from tests.small_tables import START, delimited, rows


def write(folder: Path, table: pd.DataFrame, name: str = "interactions.csv") -> Path:
    table.to_csv(folder / name, index=False)
    return folder


def lines_of(path: Path, reading: Reading | None = None) -> dict[str, Line]:
    reading = reading or Reading()
    return {line.kind: line for line in read_rows(path, reading).checked(reading).lines}


# Columns ----------------------------------------------------------------------------------------


def test_each_name_belongs_to_one_role() -> None:
    keys = [key(name) for names in NAMES.values() for name in names]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("spelling", [
    str.upper, str.title, lambda name: f"  {name} ", lambda name: name.replace("_", ""),
    lambda name: name.replace("_", "-"), lambda name: name.replace("_", " "),
    lambda name: f"{name}:token"])
def test_case_blanks_and_types_do_not_matter(spelling: object) -> None:
    for ours, names in NAMES.items():
        for name in names:
            assert column_of(["other", spelling(name)], ours) == spelling(name)  # type: ignore[operator]


@pytest.mark.parametrize("header", [
    "userId itemId rating timestamp", "userID itemID rating time", "user_id item_id score ts",
    "reviewerID asin overall unixReviewTime", "customer_id article_id rating t_dat",
    "UserId MovieId Rating Timestamp", "uid business_id stars date"])
def test_known_names(header: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(delimited(",", header))
    assert load(str(tmp_path), k_core=0, seed=0).sha256 == Dataset.from_pandas(
        rows(), k_core=0).sha256


@pytest.mark.parametrize("split", ["x_label", "split_label", "split"])
@pytest.mark.parametrize("file", ["inter.csv", "x.inter", "interactions.csv"])
def test_a_given_split_is_known_in_every_layout(split: str, file: str, tmp_path: Path) -> None:
    table = rows().sort_values("timestamp", kind="stable")
    back = table.groupby("user_id").cumcount(ascending=False)
    table[split] = np.select([back == 0, back == 1], [2, 1], 0)
    write(tmp_path, table.rename(columns={"user_id": "userId", "item_id": "itemId"}), file)
    data = load(str(tmp_path), k_core=0, seed=0)
    assert data.protocol.split == "given split"
    assert data.sha256 == Dataset.from_pandas(rows(), k_core=0).sha256


def test_a_run_has_the_names_it_was_told(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text(delimited(",", "who what mark when"))
    told = "user=who,item=what,rating=mark,time=when"
    expected = Dataset.from_pandas(rows(), k_core=0).sha256
    assert pf.load(file, k_core=0, columns=told).sha256 == expected
    config = resolve(None, {"dataset": str(file), "columns": told, "min_rating": 2.5,
                            "duplicates": "first"})
    (tmp_path / "config.toml").write_text(to_toml(config))
    again = resolve(tmp_path / "config.toml", {})
    assert again.reading == config.reading == Reading(
        {"user": "who", "item": "what", "rating": "mark", "time": "when"}, 2.5, "first")
    for wrong, sentence in (("user", "write 'user' as user=NAME"),
                            ("usr=who", "columns: 'usr' is none of user, item")):
        with pytest.raises(UserError, match=sentence):
            resolve(None, {"columns": wrong})
    with pytest.raises(UserError, match="user and item; name one column for each"):
        pf.load(file, columns={"user": "who", "item": "who"})


def test_what_is_not_used_and_what_is_guessed_is_said(tmp_path: Path) -> None:
    table = rows().assign(mood="good", date="2020-01-01")
    found = lines_of(write(tmp_path, table) / "interactions.csv")
    assert "time = timestamp" in found["columns"].says
    assert "not used: mood, date" in found["columns"].says
    assert "several columns may be the time" in found["columns"].says
    assert found["read"].values["rows"] == len(table)


# Duplicates -------------------------------------------------------------------------------------


def doubled() -> pd.DataFrame:
    """The rows, and for two pairs a row that is later in time: one before and one after."""
    more = rows().iloc[[3, 7]].assign(timestamp=START + 10**6)
    return pd.concat([more.iloc[[0]], rows(), more.iloc[[1]]], ignore_index=True)


@pytest.mark.parametrize("timed", [True, False])
def test_the_last_or_first_of_a_pair_is_kept(timed: bool, tmp_path: Path) -> None:
    table = doubled() if timed else doubled().drop(columns="timestamp")
    path = write(tmp_path, table) / "interactions.csv"
    kept = {}
    for choice in ("last", "first"):
        reading = Reading(duplicates=choice)
        frame = read_rows(path, reading).checked(reading).frame
        assert not frame.duplicated(["user", "item"]).any()
        kept[choice] = set(frame["line"]) ^ set(range(2, len(table) + 2))
        said = lines_of(path, reading)["duplicates"].text()
        assert "2 rows dropped" in said and ("by time" in said) == timed
    # Rows 3 and 7 stand one line further down; line 2 and the last one are their repetitions.
    later, end = {2 + 4, 2 + 8}, len(table) + 1
    assert kept["last"] == (later if timed else {2, 10})
    assert kept["first"] == ({2, end} if timed else {6, end})
    with pytest.raises(DataError, match=r"line 6: user .* were paired on line 2 already"):
        load(str(tmp_path), k_core=0, seed=0, reading=Reading(duplicates="error"))


def test_what_is_kept_of_a_user_is_that_users_own_affair(tmp_path: Path) -> None:
    """Nobody else's row decides which row of a pair stays, or which is liked."""
    reading = Reading(min_rating=2)
    table = doubled()
    whole = read_rows(write(tmp_path, table) / "interactions.csv", reading).checked(reading).frame
    for user in table["user_id"].unique():
        write(tmp_path, table[table["user_id"] != user])
        less = read_rows(tmp_path / "interactions.csv", reading).checked(reading).frame
        rest = whole[whole["user"] != user]
        for name in ("user", "item", "time"):
            assert less[name].tolist() == rest[name].tolist()


# Ratings ----------------------------------------------------------------------------------------


def test_a_least_rating_decides_which_rows_count(tmp_path: Path) -> None:
    path = write(tmp_path, rows()) / "interactions.csv"
    said = lines_of(path)["ratings"]
    assert "every row counts as liked" in said.says and "from 1 to 5" in said.found
    reading = Reading(min_rating=3)
    frame = read_rows(path, reading).checked(reading).frame
    assert frame["line"].tolist() == (rows().index[rows()["rating"] >= 3] + 2).tolist()
    assert lines_of(path, reading)["ratings"].values["kept"] == len(frame) < len(rows())
    here = Dataset.from_pandas(rows(), k_core=0, min_rating=3)
    assert here.sha256 == load(str(tmp_path), k_core=0, seed=0, reading=reading).sha256


@pytest.mark.parametrize(("low", "name"), [(0, "label"), (-1, "rating"), (0, "click")])
def test_yes_and_no_in_one_column_are_a_question(low: int, name: str, tmp_path: Path) -> None:
    table = rows().assign(rating=np.where(rows()["rating"] > 2, 1, low)).rename(
        columns={"rating": name})
    write(tmp_path, table)
    with pytest.raises(DataError, match=f"{name} is {low} in .* rows, .*--min-rating 1 to keep"):
        load(str(tmp_path), k_core=0, seed=0)
    liked = load(str(tmp_path), k_core=0, seed=0, reading=Reading(min_rating=1))
    every = load(str(tmp_path), k_core=0, seed=0, reading=Reading(min_rating=low))
    assert liked.num_interactions == (table[name] == 1).sum()
    assert every.num_interactions == len(table)


def test_ratings_that_cannot_be_compared(tmp_path: Path) -> None:
    table = rows().astype({"rating": object})
    table.loc[4, "rating"] = "good"
    write(tmp_path, table)
    assert load(str(tmp_path), k_core=0, seed=0).num_interactions == len(table)
    with pytest.raises(DataError, match="line 6 holds a rating that is not a number"):
        load(str(tmp_path), k_core=0, seed=0, reading=Reading(min_rating=1))
    write(tmp_path, rows().drop(columns="rating"))
    with pytest.raises(DataError, match=r"no column of ratings that --min-rating.*rating=NAME"):
        load(str(tmp_path), k_core=0, seed=0, reading=Reading(min_rating=1))


# Times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "scale", "words"), [
    ("s", 1, "seconds"), ("ms", 10**3, "milliseconds"), ("us", 10**6, "microseconds"),
    ("ns", 10**9, "nanoseconds")])
def test_units_are_recognised_and_said(unit: str, scale: int, words: str, tmp_path: Path) -> None:
    table = rows().assign(timestamp=rows()["timestamp"] * scale)
    said = lines_of(write(tmp_path, table) / "interactions.csv")["times"]
    assert said.found == f"{words} since 1970, from 2017-07-14 to 2017-07-14"
    assert said.values["unit"] == unit
    assert load(str(tmp_path), k_core=0, seed=0).sha256 == Dataset.from_pandas(
        rows(), k_core=0).sha256


def test_dates_with_zones_and_without(tmp_path: Path) -> None:
    moments = pd.to_datetime(rows()["timestamp"], unit="s")
    zone = np.where(np.arange(len(moments)) % 2, "+02:00", "Z")
    shifted = moments + pd.to_timedelta(2 * (np.arange(len(moments)) % 2), unit="h")
    zoned = shifted.dt.strftime("%Y-%m-%dT%H:%M:%S") + zone
    expected = Dataset.from_pandas(rows(), k_core=0).sha256
    for column, words in ((zoned, "with a zone"),
                          (moments.dt.strftime("%Y-%m-%d %H:%M:%S"), "without a zone")):
        said = lines_of(write(tmp_path, rows().assign(timestamp=column)) / "interactions.csv")
        assert said["times"].found.startswith(words) and "in UTC" in said["times"].says
        assert load(str(tmp_path), k_core=0, seed=0).sha256 == expected


def test_small_numbers_are_an_order(tmp_path: Path) -> None:
    table = rows().assign(timestamp=rows()["timestamp"] - START)
    assert "order" in lines_of(write(tmp_path, table) / "interactions.csv")["times"].found


@pytest.mark.parametrize(("wrong", "sentence"), [
    (START * 1000, "a time in milliseconds where most are in seconds"),
    (0, "the time 0 beside dates"), (-1, "the time -1 beside dates"),
    ("", "a time that is not a number like the others")])
def test_other_units_and_placeholders_are_faults(
    wrong: object, sentence: str, tmp_path: Path
) -> None:
    table = rows().astype({"timestamp": object})
    table.loc[[5, 9], "timestamp"] = wrong
    write(tmp_path, table)
    with pytest.raises(DataError, match=f"interactions.csv line 7 holds {sentence}"):
        load(str(tmp_path), k_core=0, seed=0)


def test_a_placeholder_among_dates_is_a_fault(tmp_path: Path) -> None:
    days = pd.to_datetime(rows()["timestamp"], unit="s").dt.strftime("%Y-%m-%d").to_numpy()
    days[8] = "1970-01-01"
    write(tmp_path, rows().assign(timestamp=days))
    with pytest.raises(DataError, match="line 10 holds a time of 1970 or before"):
        load(str(tmp_path), k_core=0, seed=0)


def test_no_two_units_share_a_number() -> None:
    from privfedmm.data.raw.times import _LEAST, _MOST, UNITS

    spans = [(scale * _LEAST, scale * _MOST) for scale in UNITS.values()]
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
