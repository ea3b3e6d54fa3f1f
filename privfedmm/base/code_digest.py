"""One digest of the code that runs: every source file of `privacy` and `privfedmm`."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from importlib import metadata
from pathlib import Path

import privacy


@cache
def code_digest() -> str:
    """Return the SHA-256 over names and bytes of all Python files of both packages.

    It is taken once a process: what was imported is what runs.
    """
    digest = hashlib.sha256()
    for root in (Path(privacy.__file__).parent, Path(__file__).parents[1]):
        for path in sorted(root.rglob("*.py")):
            content = path.read_bytes()
            name = path.relative_to(root.parent).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def foreign_code() -> str:
    """Return the SHA-256 over the Python files of packages that have registered parts.

    Of every entry point in a group of this package, the files of its top-level package, or its one
    file."""
    digest = hashlib.sha256()
    groups = [g for g in metadata.entry_points().groups if g.startswith("privfedmm.")]
    found = {entry.module.partition(".")[0] for group in groups
             for entry in metadata.entry_points(group=group)}
    for name in sorted(found):
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        places = [Path(place) for place in spec.submodule_search_locations or ()]
        files = [(path, place) for place in places for path in sorted(place.rglob("*.py"))]
        if not places and spec.origin:
            files = [(Path(spec.origin), Path(spec.origin).parent)]
        for path, place in files:
            content = path.read_bytes()
            shown = f"{name}\0{path.relative_to(place).as_posix()}\0{len(content)}\0"
            digest.update(shown.encode() + content)
    return digest.hexdigest()


def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("privfedmm")
