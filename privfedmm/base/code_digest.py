"""One digest of the code that runs: every source file of `privacy` and `privfedmm`."""

from __future__ import annotations

import hashlib
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


def version() -> str:
    """Return the version of the installed package."""
    return metadata.version("privfedmm")
