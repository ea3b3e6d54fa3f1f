"""Distributions as an installer leaves them, in a folder of a test."""

from __future__ import annotations

from pathlib import Path


def installed(root: Path, name: str, entry: str) -> None:
    """Leave a distribution in `root` that registers a fusion under its own name, by its entry."""
    info = root / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[privfedmm.fusions]\n{name} = {entry}\n")
