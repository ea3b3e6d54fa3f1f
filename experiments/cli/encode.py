"""`privfedmm data encode`: the features of a folder's texts and pictures, ahead of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from privfedmm.base.errors import UserError
from privfedmm.data import DataError, Encoding, encode_raw, feature_cache
from privfedmm.data.layouts import read_data
from privfedmm.encoders import EncoderSettings


def encode_folder(
    folder: Path, given: dict[str, Any], download: bool, report: Callable[[str], None]
) -> dict[str, Any]:
    """Encode a folder's content and keep the features, where a run with the same settings finds
    them.

    given: the settings of the encoders by name; those that are None keep their defaults. Raises
    UserError for faults in data, settings or model.
    """
    try:
        chosen = {name: value for name, value in given.items() if value is not None}
        settings = EncoderSettings.model_validate(chosen)
        started = time.perf_counter()
        raw = read_data(folder)
        if raw.features:
            raise UserError(f"data encode: {folder.name} has feature files for "
                            f"{', '.join(sorted(raw.features))}, which win over encoders; move "
                            "them away to encode")
        done = encode_raw(raw, Encoding(settings, feature_cache(), report, download))
    except DataError as error:
        raise UserError(f"data encode: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"data encode: {first['loc'][0]}: {first['msg']}") from error
    if not done.features:
        raise UserError(f"data encode: {folder.name} has nothing to encode; items.csv needs a "
                        "column title or description, or the folder images/ or images.zip")
    return {
        "items": len(done.items),
        "modalities": {n: int(x.shape[1]) for n, (_, x) in done.features.items()},
        "encoders": done.feature_notes,
        "missing": {n: int((~mask).sum()) for n, mask in done.present.items()},
        "notes": done.notes,
        "content": [line.says for line in done.lines if line.kind == "content"],
        "seconds": time.perf_counter() - started,
        "cache": str(feature_cache()),
    }
