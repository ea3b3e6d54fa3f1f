"""Pictures of what a few users have and what a run recommends to them, for the report's page."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from privfedmm.base.errors import UserError
from privfedmm.config import resolve_saved
from privfedmm.data import Dataset
from privfedmm.data.content import picture_contents
from privfedmm.encoders import ContentError
from privfedmm.runs.recommend import recommend
from privfedmm.runs.run import CONFIG, load_data

_SIDE, _SHOWN = 110, 8
_PLACES = ("images", "images.zip")


def gallery(folder: Path, users: int) -> str:
    """Return HTML with, for `users` users, their last training items and the best recommendations.

    Raises UserError for a folder that holds no run.
    """
    if not (folder / CONFIG).exists():
        raise UserError(f"--gallery: {folder} is no run folder; it has no {CONFIG}")
    config = resolve_saved(folder / CONFIG)
    data = load_data(config)
    places = [Path(config.dataset) / name for name in _PLACES]
    place = next((p for p in places if p.exists()), None)
    parts = [
        f"<h2>What {users} users have, and what they are shown</h2>",
        f"<p>Run: {html.escape(folder.name)}. Users evenly spaced in the data. This section shows "
        "users' own interactions: no privacy claim covers it, and it is not for publication where "
        "the data is real.</p>",
    ]
    for number in np.linspace(0, data.num_users - 1, users).astype(int).tolist():
        own = data.item_ids[data.train.row(number)][-_SHOWN:].tolist()
        found = recommend(folder, str(data.user_ids[number]), _SHOWN, False)
        best = [item["item_id"] for item in found["items"]]
        parts.append(f"<h3>User {html.escape(str(data.user_ids[number]))}</h3>")
        for label, items in (("has", own), ("is shown", best)):
            parts.append(f"<p>{label}</p><div class=shelf>"
                         + "".join(_cards(data, [str(i) for i in items], place)) + "</div>")
    return "\n".join(parts)


def _cards(data: Dataset, items: list[str], place: Path | None) -> list[str]:
    pictures = _pictures(items, place) if place else {}
    titles = data.items["title"] if "title" in data.items.columns else None
    where = {str(item): row for row, item in enumerate(data.item_ids)}
    out = []
    for item in items:
        title = item if titles is None else str(titles.iloc[where[item]])
        shown = f'<img alt="" src="{pictures[item]}">' if item in pictures else ""
        out.append(f"<figure class=card>{shown}<figcaption>{html.escape(title)}</figcaption>"
                   "</figure>")
    return out


def _pictures(items: list[str], place: Path) -> dict[str, str]:
    """Item -> data URL of a small picture; without those that have none that can be read."""
    out: dict[str, str] = {}
    table = pd.DataFrame(index=pd.Index(items))
    with picture_contents(table, place, 100_000_000) as contents:
        for item, content in zip(items, contents, strict=True):
            if content.key is None:
                continue
            try:
                picture: Image.Image = content.read()
            except ContentError:
                continue
            picture.thumbnail((_SIDE, 2 * _SIDE))
            raw = io.BytesIO()
            picture.save(raw, format="JPEG", quality=80)
            out[item] = "data:image/jpeg;base64," + base64.b64encode(raw.getvalue()).decode()
    return out
