"""The one .inter file of a folder, which RecBole and MMRec write each in their own way."""

from __future__ import annotations

from pathlib import Path

from privfedmm.data.raw import DataError

PATTERN = "*.inter"


def inter_file(folder: Path) -> Path:
    """Return the .inter file of a folder that is known to have one."""
    return next(iter(sorted(folder.glob(PATTERN))))


def header(folder: Path) -> str:
    """Return the first line of the folder's .inter file, or nothing where there is none.

    Raises DataError where there are several.
    """
    files = sorted(folder.glob(PATTERN))
    if len(files) > 1:
        raise DataError(f"{folder.name} holds several .inter files: "
                        f"{', '.join(f.name for f in files)}; keep one a folder")
    if not files:
        return ""
    with files[0].open(encoding="utf-8", errors="replace") as lines:
        return lines.readline()
