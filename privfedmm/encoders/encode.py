"""All items of one modality through one encoder: cache, batches, progress, items that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privfedmm.base.features import alike
from privfedmm.encoders.cache import FeatureCache
from privfedmm.encoders.protocol import ContentError, Encode, Encoder, EncoderError, Shortens

_SHARD = 256
Report = Callable[[str], None]


@dataclass(frozen=True)
class Content:
    """This is what an item brings to an encoder.

    key: the key of its bytes, None where it has nothing. size: its size, by which contents are put
    in batches. read: returns it, and may raise ContentError. missing: why there is nothing, in a
    sentence naming the item. name: what sentences call it.
    """

    key: str | None
    size: int
    read: Callable[[], Any]
    missing: str = ""
    name: str = "a content"


@dataclass(frozen=True)
class Encoded:
    """These are the contents of all items, encoded.

    rows [items, F] float32: 0 where present [items] is False. faults: a map from an item's place to
    why it has no row. encoded: how many contents were not in the cache. cut: how many items'
    contents are longer than what the encoder reads, as far as that is known. shared: how many
    different contents have the row of another.
    """

    rows: np.ndarray
    present: np.ndarray
    faults: dict[int, str]
    encoded: int
    cut: int = 0
    shared: int = 0


def encode_all(
    encoder: Encoder,
    contents: Sequence[Content],
    cache: Path,
    batch_size: int,
    allow_missing: bool,
    report: Report,
) -> Encoded:
    """Return one row for each content. Equal contents are encoded once, cached ones not at all.

    Raises ContentError for the first item without readable content unless allow_missing, and
    EncoderError where no item has any.
    """
    kept = FeatureCache(cache, encoder.identity)
    faults = {place: c.missing for place, c in enumerate(contents) if c.key is None}
    if faults and not allow_missing:
        raise ContentError(next(iter(faults.values())) + _others(len(faults)))
    wanted: dict[str, list[int]] = {}
    for place, content in enumerate(contents):
        if content.key is not None and kept.get(content.key) is None:
            wanted.setdefault(content.key, []).append(place)
    if wanted:
        _encode(encoder, contents, wanted, kept, batch_size, allow_missing, faults, report)
    found = {p: kept.get(c.key) for p, c in enumerate(contents)
             if c.key is not None and p not in faults}
    empty = {place: f"{contents[place].name} holds nothing that the encoder knows, so its row "
             f"would be zeros ({encoder.note})"
             for place, row in found.items() if row is not None and not row.any()}
    if empty and not allow_missing:
        raise ContentError(next(iter(empty.values())) + _others(len(empty)))
    faults |= empty
    found = {place: row for place, row in found.items() if place not in empty}
    if not found:
        raise EncoderError("no item has content that can be encoded; "
                           "check the folder, or leave the modality out")
    first = next(iter(found.values()))
    assert first is not None
    rows = np.zeros((len(contents), len(first)), dtype=np.float32)
    present = np.zeros(len(contents), dtype=bool)
    for place, row in found.items():
        rows[place], present[place] = row, True
    keys = {contents[place].key: place for place in found}
    different = rows[list(keys.values())]
    shared = len(different) - len(alike(different))
    cut = sum(kept.cut(str(contents[place].key)) is True for place in found)
    return Encoded(rows, present, faults, len(wanted), cut, shared)


def _encode(
    encoder: Encoder,
    contents: Sequence[Content],
    wanted: dict[str, list[int]],
    kept: FeatureCache,
    batch_size: int,
    allow_missing: bool,
    faults: dict[int, str],
    report: Report,
) -> None:
    """Encode what is wanted; contents of like size share a batch, so that padding is short."""
    started = told = time.monotonic()
    encode: Encode | None = None
    keys = sorted(wanted, key=lambda key: (contents[wanted[key][0]].size, key))
    report(f"{len(keys)} to encode with {encoder.note}")
    pending: list[tuple[str, np.ndarray, bool]] = []
    try:
        for start in range(0, len(keys), batch_size):
            names, values = [], []
            for key in keys[start : start + batch_size]:
                try:
                    values.append(contents[wanted[key][0]].read())
                    names.append(key)
                except ContentError as error:
                    if not allow_missing:
                        raise
                    faults.update(dict.fromkeys(wanted[key], str(error)))
            if values:
                encode = encode or encoder.load()
                pending += zip(names, _rows(encode, values, encoder.note),
                               _cut(encode, values), strict=True)
            if len(pending) >= _SHARD:
                _keep(kept, pending)
            now = time.monotonic()
            if now - told > 5:
                told, done = now, start + batch_size
                left = (now - started) / done * (len(keys) - done)
                report(f"{done} of {len(keys)}, {now - started:.0f} s, {left:.0f} s to go")
    finally:
        # What is finished stays, also where an item or the user stops the rest.
        _keep(kept, pending)
    report(f"{len(keys)} encoded in {time.monotonic() - started:.1f} s")


def _rows(encode: Encode, values: list[Any], note: str) -> np.ndarray:
    rows = encode(values)
    if not np.isfinite(rows).all():
        raise EncoderError(f"{note} gave NaN or infinity; choose another model, or device cpu")
    return rows


def _cut(encode: Encode, values: list[Any]) -> list[bool]:
    return [bool(c) for c in encode.cut(values)] if isinstance(encode, Shortens) else (
        [False] * len(values))


def _keep(kept: FeatureCache, pending: list[tuple[str, np.ndarray, bool]]) -> None:
    if pending:
        kept.add([key for key, _, _ in pending], np.stack([row for _, row, _ in pending]),
                 np.array([cut for _, _, cut in pending]))
        pending.clear()


def _others(count: int) -> str:
    more = f" ({count - 1} more items are like it)" if count > 1 else ""
    return more + "; add it, or go on without by --allow-missing"
