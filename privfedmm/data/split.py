"""What is held out: as the data says, or leave-one-out by time or at random."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from privfedmm.data.raw import Raw
from privfedmm.data.types import DataError

FURTHER = "further "  # before the name of a part: held out there, and not its user's last


def names_held_out(raw: Raw) -> bool:
    """Return whether the data itself says what is held out."""
    return "split" in raw.frame or raw.given_test is not None


def split_of(
    frame: pd.DataFrame, raw: Raw, seed: int, apart: bool = False
) -> tuple[np.ndarray, str, str]:
    """Say where each row of the filtered frame goes: train, validation, test, or `FURTHER` and one
    of the latter two.

    Return that [rows], the name of the split and a note in words. seed: the seed of splits that the
    data leaves open. apart: whether a random split draws each row by its own name, so that no other
    row moves it; else all are drawn in one go.

    Raises DataError for a given split that names no test item or, named in a list of its own, two
    for a user.
    """
    if "split" in frame:
        return _given_split(frame, raw, seed, apart)
    if raw.given_test is not None:
        return _given_test(frame, raw.given_test, seed, apart)
    if "time" in frame:
        return _from_last(frame, frame["time"].to_numpy()), "leave-one-out by time", ""
    shuffled = _drawn(frame, seed, 1, apart)
    return (
        _from_last(frame, shuffled),
        f"leave-one-out at random (seeded): {raw.untimed or 'the data has no times'}",
        f"split seed {seed}",
    )


def _drawn(frame: pd.DataFrame, seed: int, stream: int, apart: bool) -> np.ndarray:
    """A random key of each row [rows], in [0, 1)."""
    if not apart:
        return np.random.default_rng([seed, stream]).random(len(frame))
    names = (f"{seed}/{stream}/{user}/{item}"
             for user, item in zip(frame["user"], frame["item"], strict=True))
    words = b"".join(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8)
                     .digest() for name in names)
    return np.frombuffer(words, dtype="<u8") / 2.0**64


def _from_last(frame: pd.DataFrame, key: np.ndarray) -> np.ndarray:
    """Last by key = test, one before = validation; equal keys in file order."""
    order = np.lexsort((np.arange(len(frame)), key, frame["u"].to_numpy()))
    back = frame.iloc[order].groupby("u").cumcount(ascending=False).to_numpy()
    held = np.full(len(frame), "train", dtype=object)
    held[order[back == 0]] = "test"
    held[order[back == 1]] = "validation"
    return held


def _given_split(
    frame: pd.DataFrame, raw: Raw, seed: int, apart: bool
) -> tuple[np.ndarray, str, str]:
    """The file's own split; of several held-out items of a user the last one is told apart."""
    if not (frame["split"] == "test").any():
        raise DataError(f"{raw.source}: no interaction that is left is marked test in the given "
                        "split; mark each user's test item, or remove the column to have one made")
    held = frame["split"].to_numpy(dtype=object).copy()
    time = frame["time"].to_numpy() if "time" in frame else np.zeros(len(frame))
    order = np.lexsort((np.arange(len(frame)), time, frame["u"].to_numpy()))
    further = 0
    for name in ("validation", "test"):
        part = order[held[order] == name]
        later = frame.iloc[part].groupby("u").cumcount(ascending=False).to_numpy() > 0
        held[part[later]] = FURTHER + name
        further += int(later.sum())
    notes = []
    if further:
        notes.append(f"{further} further held-out interactions, beside the last of each user.")
    if not (held == "validation").any():
        if apart:  # whether anybody has one is decided by all rows, and would move everybody's
            raise DataError(f"{raw.source}: no interaction is marked validation in the given "
                            "split; mark each user's validation item, or set split to "
                            "leave-one-out")
        rest = held == "train"
        spare = frame.assign(rest=rest).groupby("u")["rest"].transform("sum").to_numpy() > 1
        chosen, how = _latest(frame, rest & spare, seed, apart)
        held[chosen] = "validation"
        notes.append(f"the given split has no validation items: validation = {how} training item "
                     "of each user.")
    if raw.given_test is not None:
        notes.append("last_interaction.csv is not used: the split column comes first.")
    return held, "given split", " ".join(notes)


def _given_test(
    frame: pd.DataFrame, given: pd.DataFrame, seed: int, apart: bool
) -> tuple[np.ndarray, str, str]:
    """Named test items; validation = the latest of the rest, or a random one without times."""
    twice = given.duplicated("user")
    if twice.any():
        raise DataError(f"last_interaction.csv line {given[twice].iloc[0]['line']} names a second "
                        f"test item for user {given[twice].iloc[0]['user']}; keep one")
    pairs = pd.MultiIndex.from_frame(frame[["user", "item"]])
    is_test = pairs.isin(pd.MultiIndex.from_frame(given[["user", "item"]]))
    held = np.full(len(frame), "train", dtype=object)
    held[is_test] = "test"
    chosen, how = _latest(frame, ~is_test, seed, apart)
    held[chosen] = "validation"
    note = f"validation = {how} remaining item of each user."
    # A pair that was filtered away leaves its user without a test item, which the note says.
    without = frame.loc[~frame["user"].isin(frame.loc[is_test, "user"]), "user"].drop_duplicates()
    named = int(without.isin(given["user"]).sum())
    if named:
        note += (f" {named} users have no test item: theirs is not among the kept "
                 "interactions.")
    if len(without) > named:
        note += f" {len(without) - named} users have no test item: none is named for them."
    return held, "leave-one-out, test item given by last_interaction.csv", note


def _latest(
    frame: pd.DataFrame, among: np.ndarray, seed: int, apart: bool
) -> tuple[np.ndarray, str]:
    """One row of each user, out of those `among` [rows] bool: the latest, or without times a random
    one. Returns their places in the frame, and in a word which they are."""
    timed = "time" in frame
    key = frame["time"].to_numpy() if timed else _drawn(frame, seed, 2, apart)
    rest = np.flatnonzero(among)
    order = rest[np.lexsort((rest, key[rest], frame["u"].to_numpy()[rest]))]
    last = frame.iloc[order].groupby("u").cumcount(ascending=False).to_numpy() == 0
    return order[last], "latest" if timed else f"random (split seed {seed})"
