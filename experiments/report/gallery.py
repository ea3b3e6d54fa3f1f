"""Pictures of what a few users have and what a run recommends to them, for the report's page."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from experiments.report.blocks import Markup, Part, Text
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, resolve_saved
from privfedmm.data import Dataset
from privfedmm.data.content import picture_contents
from privfedmm.data.sources import find_source
from privfedmm.encoders import ContentError
from privfedmm.runs.recommend import ranked, restored
from privfedmm.runs.run import CONFIG, load_data

USERS = 3  # whose items are shown unasked, where the users are made up
_SIDE, _SHOWN = 110, 8
_PLACES = ("images", "images.zip")
Pictures = Callable[[Sequence[str]], dict[str, str]]


def gallery(folder: Path, users: int | None) -> list[Part]:
    """Return what `users` users of a run have, evenly spaced in the data, and what they are shown.

    users: None for a few where they are made up and nobody's, and nothing elsewhere; 0 for nothing.
    Raises UserError for a folder that holds no run, and for a run that has left no model or whose
    data is not there; where nobody asked for users, the part says so instead.
    """
    if users == 0:
        return []
    try:
        return _gallery(folder, users)
    except UserError as error:
        if users is not None:
            raise
        return [Text((f"No recommendations are shown: {error}.",))]


def _gallery(folder: Path, users: int | None) -> list[Part]:
    if not (folder / CONFIG).exists():
        raise UserError(f"--gallery: {folder} is no run folder; it has no {CONFIG}")
    config = resolve_saved(folder / CONFIG)
    known = find_source(config.dataset)
    invented = known is not None and known[0].invented
    if users is None and not invented:
        return []
    data = load_data(config)
    pictures = _pictures(config, data)
    algorithm, state, clients, which = restored(folder, config, data)
    parts = [Text((
        f"Run {'/'.join(folder.parts[-2:])}, {which}. Users evenly spaced in the "
        "data." + (
            " They are made up." if invented else
            " This section shows users' own interactions: no privacy claim covers it, and it is "
            "not for publication where the data is real."),))]
    shelves = []
    for number in np.linspace(0, data.num_users - 1, users or USERS).astype(int).tolist():
        user = str(data.user_ids[number])
        own = [str(item) for item in data.item_ids[data.train.row(number)][-_SHOWN:]]
        found = ranked(data, algorithm, state, clients, user, _SHOWN, False)
        best = [item["item_id"] for item in found["items"]]
        name = html.escape(user)
        shelves.append(f"<h3>User {name}</h3>" + "".join(
            f'<p>{label}</p><div class="shelf" role="region" tabindex="0" '
            f'aria-label="User {name} {label}">{"".join(_cards(data, items, pictures))}</div>'
            for label, items in (("has, among others", own), ("is shown", best))))
    return [*parts, Markup("\n".join(shelves))]


def _cards(data: Dataset, items: list[str], pictures: Pictures) -> list[str]:
    shown = pictures(items)
    titles = data.items["title"] if "title" in data.items.columns else None
    where = {str(item): row for row, item in enumerate(data.item_ids)}
    out = []
    for item in items:
        title = item if titles is None else str(titles.iloc[where[item]])
        picture = f'<img alt="" src="{shown[item]}">' if item in shown else ""
        out.append(f'<figure class="card">{picture}<figcaption>{html.escape(title)}</figcaption>'
                   "</figure>")
    return out


def _pictures(config: RunConfig, data: Dataset) -> Pictures:
    """A function from items to data URLs of small pictures; it leaves out those that have none."""
    known = find_source(config.dataset)
    if known is None:
        places = [Path(config.dataset) / name for name in _PLACES]
        place = next((p for p in places if p.exists()), None)
        return (lambda items: {}) if place is None else (lambda items: _of_folder(items, place))
    source, size = known
    if source.pictures is None:
        return lambda items: {}
    drawn = dict(zip(map(str, data.item_ids), source.pictures(size), strict=False))
    return lambda items: {item: _url(drawn[item], "PNG") for item in items if item in drawn}


def _of_folder(items: Sequence[str], place: Path) -> dict[str, str]:
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
            out[item] = _url(picture, "JPEG")
    return out


def _url(picture: Image.Image, form: str) -> str:
    raw = io.BytesIO()
    picture.save(raw, format=form, quality=80)
    return f"data:image/{form.lower()};base64,{base64.b64encode(raw.getvalue()).decode()}"
