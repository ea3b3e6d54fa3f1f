"""Layouts of data folders: each is told by the files that are there, and read into a `Raw`."""

from __future__ import annotations

from privfedmm.data.layouts.folder import read_data, read_folder, read_items
from privfedmm.data.layouts.layout import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout", "read_data", "read_folder", "read_items"]
