"""`privfedmm recommend`: what a finished or interrupted run recommends to a user, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from privfedmm.assemble import algorithm_of, plan_of
from privfedmm.base.errors import UserError
from privfedmm.base.files import load_tensors
from privfedmm.config import RunConfig, resolve_saved
from privfedmm.data import Dataset
from privfedmm.federation import Algorithm
from privfedmm.runs.halves import of_checkpoint
from privfedmm.runs.reasons import reason
from privfedmm.runs.run import CONFIG, load_data
from privfedmm.runs.session import CHECKPOINT

BUNDLE = "bundle.json"  # in a folder that was given away


def recommend(folder: Path, user: str, top: int, explain: bool) -> dict[str, Any]:
    """Return the `top` items that the run's best model ranks first for a user, without training
    items.

    explain: whether each score has beside it the parts that it is the sum of. Raises UserError for
    an unknown user, a folder that holds no run, and data that has changed since.
    """
    if top < 1:
        raise UserError(f"--top: {top} items cannot be shown; give 1 or more")
    if (folder / BUNDLE).exists():
        raise UserError(f"--user: {folder} is a bundle, in which there are no users; give --rows "
                        "with a table of the user's own rows")
    if not (folder / CONFIG).exists():
        raise UserError(f"recommend: {folder} is no run folder; it has no {CONFIG}")
    config = resolve_saved(folder / CONFIG)
    data = load_data(config)
    algorithm, state, clients, which = restored(folder, config, data)
    return {"user": user, "model": which,
            **ranked(data, algorithm, state, clients, user, top, explain)}


def ranked(
    data: Dataset, algorithm: Algorithm, state: Any, clients: Any, user: str, top: int,
    explain: bool,
) -> dict[str, Any]:
    """Return the number of training items and the best items of a user, from a model in memory.

    Raises UserError for an unknown user and for top below 1.
    """
    if top < 1:
        raise UserError(f"--top: {top} items cannot be shown; give 1 or more")
    refuse_unknown(data, user)
    ids = np.flatnonzero(data.user_ids == user)[:1]
    scores = algorithm.scores(state, clients, ids)[0].numpy()
    scores = np.where(np.isin(np.arange(data.num_items), data.train.row(int(ids[0]))),
                      -np.inf, scores)
    best = np.argsort(-scores, kind="stable")[:top]
    best = best[np.isfinite(scores[best])]
    parts = {name: part[0].numpy() for name, part in
             algorithm.explain(state, clients, ids).items()} if explain else {}
    titles = [_title(data, item) or str(data.item_ids[item]) for item in range(
        data.num_items)] if explain else []
    return {
        "training_items": int(data.train.counts[ids[0]]),
        "items": [
            {
                "rank": rank,
                "item_id": str(data.item_ids[item]),
                "title": _title(data, int(item)),
                "score": float(scores[item]),
                **({"parts": {n: float(p[item]) for n, p in parts.items()},
                    "reason": reason(data, int(ids[0]), int(item), parts, titles),
                    "missing": [n for n, m in data.present.items() if not m[item]]}
                   if explain else {}),
            }
            for rank, item in enumerate(best, start=1)
        ],
    }


def refuse_unknown(data: Dataset, user: str) -> None:
    """Refuse a user that the data does not have. Raises UserError."""
    if not (data.user_ids == user).any():
        some = ", ".join(data.user_ids[:3].tolist())
        raise UserError(f"--user: there is no user {user!r} in {data.name}; its users are {some} "
                        f"and {data.num_users - 3} more")


def restored(
    folder: Path, config: RunConfig, data: Dataset
) -> tuple[Algorithm, Any, Any, str]:
    """Return the run's algorithm with the state of its best round, or of its last where none is
    judged, and words for that round. Raises UserError where there is no model."""
    try:
        saved = load_tensors(folder / CHECKPOINT)
        if saved["data"] != data.sha256:
            raise UserError("recommend: the data set or its features have changed since the run; "
                            "start a new run")
        planned = plan_of(config, data)
        algorithm = algorithm_of(config, data, planned)
        last, best = of_checkpoint(folder, saved, algorithm)
        state, clients = algorithm.from_saved(best or last)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"recommend: {folder / CHECKPOINT} cannot be read ({error}); "
                        "the run has left no model") from error
    rounds = f"round {saved['best']['round'] + 1 if best else state.round}"
    return algorithm, state, clients, (
        f"best, {rounds}" if best else f"last, {rounds}")


def _title(data: Dataset, item: int) -> str:
    for name in ("title", "name"):
        if name in data.items.columns:
            return str(data.items[name].iloc[item])
    return ""


def table(result: dict[str, Any]) -> Table:
    """Return the recommendations of a user as a table for people."""
    out = Table(title=f"user {result['user']}: model of the {result['model']}; its "
                      f"{result['training_items']} training items are left out")
    for name, justify in (("", "right"), ("item", "left"), ("title", "left"), ("score", "right")):
        out.add_column(name, justify=justify)  # type: ignore[arg-type]
    names = list(result["items"][0].get("parts", {})) if result["items"] else []
    for name in names:
        out.add_column(name, justify="right")
    for item in result["items"]:
        out.add_row(str(item["rank"]), item["item_id"], item["title"], f"{item['score']:.3f}",
                    *(f"{item['parts'][name]:+.3f}" for name in names))
    return out
