"""Features for a folder that brings texts and pictures but no feature file."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from privfedmm.data.content import item_texts, picture_contents, text_columns, text_contents
from privfedmm.data.raw import Line, Raw
from privfedmm.data.types import DataError
from privfedmm.encoders import (
    Content,
    Encoded,
    Encoder,
    EncoderError,
    EncoderSettings,
    Report,
    encode_all,
    image_encoder,
    text_encoder,
)


def silent(text: str) -> None:
    """Ignore a report that nobody reads."""


@dataclass(frozen=True)
class Encoding:
    """An encoding says how raw content is encoded.

    settings: the encoders to use, and how. cache: the folder of kept features. report: a function
    that is told of the progress. download: whether a hub model that is not here may be fetched; a
    run never fetches one.
    """

    settings: EncoderSettings
    cache: Path
    report: Report = silent
    download: bool = False


def encode_raw(raw: Raw, how: Encoding) -> Raw:
    """Return the same data with features of its texts and pictures; feature files it has win.

    Raises DataError with a sentence naming the item or the model.
    """
    if raw.features or not len(raw.items):
        return raw
    settings = how.settings
    columns = text_columns(raw.items, settings.text_columns)
    out = replace(raw, features={}, present={}, feature_notes={}, items=_clean(raw.items),
                  lines=list(raw.lines))
    try:
        text = text_encoder(settings, how.download) if columns else None
        for there, name in ((columns, "text"), (raw.pictures, "image")):
            if there and getattr(settings, f"{name}_model") == "none":
                out.lines.append(Line("content", f"{name}: there, not encoded "
                                      f"(encoders.{name}_model none)"))
        # Without a choice, texts that are all empty are no modality rather than a fault.
        chosen = bool(settings.text_columns)
        if text and (chosen or any(item_texts(raw.items, columns, chosen))):
            contents = text_contents(raw.items, columns, chosen, raw.item_source)
            encoded = _run("text", text, contents, how)
            _add(out, "text", text, encoded, f"; columns {', '.join(columns)}")
        image = image_encoder(settings, how.download) if raw.pictures else None
        if image and raw.pictures:
            with picture_contents(raw.items, raw.pictures, settings.max_pixels) as contents:
                encoded = _run("image", image, contents, how)
            _add(out, "image", image, encoded, f"; {raw.pictures.name}")
    except (EncoderError, zlib.error) as error:
        raise DataError(str(error)) from error
    return out


def _run(modality: str, encoder: Encoder, contents: list[Content], how: Encoding) -> Encoded:
    s = how.settings
    return encode_all(encoder, contents, how.cache, s.batch_size, s.allow_missing,
                      lambda line: how.report(f"{modality}: {line}"))


def _add(raw: Raw, modality: str, encoder: Encoder, encoded: Encoded, source: str) -> None:
    raw.features[modality] = (raw.items.index.to_numpy().astype(str), encoded.rows)
    raw.feature_notes[modality] = encoder.note + source
    raw.lines.append(_line(modality, encoder.note + source, encoded))
    if encoded.faults:
        raw.present[modality] = encoded.present
        raw.notes = [*raw.notes, *_faults(modality, encoded)]


def _line(modality: str, how: str, encoded: Encoded) -> Line:
    """How a modality was made, and what of the content is not in it."""
    parts = [f"{modality}: {how}"]
    if encoded.cut:
        parts.append(f"{encoded.cut:,} of {len(encoded.rows):,} are longer than what is read of "
                     "them (encoders.max_tokens)")
    if encoded.shared:
        parts.append(f"{encoded.shared:,} different contents have the row of another")
    if encoded.faults:
        parts.append(f"{len(encoded.faults):,} items lack it (--allow-missing)")
    return Line("content", ", ".join(parts), values={
        f"{modality}_cut": encoded.cut, f"{modality}_same_row": encoded.shared,
        f"{modality}_missing": len(encoded.faults)})


def _faults(modality: str, encoded: Encoded) -> list[str]:
    """What the user let pass, the first three items by name."""
    told = list(encoded.faults.values())
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return [f"{len(told)} items without {modality} (allow_missing): {'; '.join(told[:3])}{more}."]


def _clean(items: pd.DataFrame) -> pd.DataFrame:
    """Titles that can be printed: bytes that were not UTF-8 become question marks."""
    return items.map(lambda value: value.encode("utf-8", "surrogateescape").decode(
        "utf-8", "replace") if isinstance(value, str) else value)


def pinned(features: dict[str, np.ndarray]) -> dict[str, str]:
    """Return the SHA-256 of each feature matrix, which a run is pinned to."""
    return {name: hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()
            for name, x in sorted(features.items())}
