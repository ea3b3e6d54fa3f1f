"""`privfedmm demo`: from nothing to three recommendations with pictures and reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from experiments.cli.arguments import folder_of
from experiments.cli.common import JsonOption, errors
from experiments.cli.talk import results

DATASET, SHOWN = "cinema", 3


def demo(
    user: Annotated[str, typer.Option(help="Whose recommendations are shown: u0 to u399.")] = "u0",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the model.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
    json_: JsonOption = False,
) -> None:
    """Train on the built-in films, compare, and show three recommendations with reasons."""
    from experiments.cli.progress import RunProgress, summary
    from privfedmm.base.interrupts import resumable
    from privfedmm.config import resolve
    from privfedmm.runs import run as runs
    from privfedmm.runs.recommend import recommend, refuse_unknown

    console = errors()
    config = resolve(None, {"dataset": DATASET, "seed": seed})
    refuse_unknown(runs.load_data(config), user)  # before the work, not after it
    with folder_of(out, config) as folder, RunProgress(console, config.most_rounds) as progress:
        record = resumable(lambda: runs.start(config, folder, progress), folder)
    found = recommend(folder, user, SHOWN, explain=True)
    pictures = _pictures(folder, [item["item_id"] for item in found["items"]])
    items = [{**item, "picture": str(pictures[item["item_id"]])} for item in found["items"]]
    if json_:
        print(json.dumps({**record, "folder": str(folder), "recommendations": items}))
        return
    summary(console, record, str(folder))
    _show(results(), folder, user, found["training_items"], items)


def _pictures(folder: Path, items: list[str]) -> dict[str, Path]:
    """Write the pictures of these items into a run folder: item -> file."""
    from privfedmm.config import resolve_saved
    from privfedmm.data import find_source
    from privfedmm.runs.run import CONFIG, load_data

    config = resolve_saved(folder / CONFIG)
    known = find_source(config.dataset)
    assert known is not None and known[0].pictures is not None  # DATASET draws its own
    ids, drawn = load_data(config).item_ids.tolist(), known[0].pictures(known[1])
    place = folder / "pictures"
    place.mkdir(exist_ok=True)
    for item in items:
        drawn[ids.index(item)].save(place / f"{item}.png")
    return {item: place / f"{item}.png" for item in items}


def _show(
    console: Console, folder: Path, user: str, training_items: int, items: list[dict[str, Any]]
) -> None:
    def say(text: str = "") -> None:
        console.print(text, highlight=False, soft_wrap=True)

    say()
    say(f"{len(items)} films for {user}, who has watched {training_items} others:")
    for item in items:
        say(f"  {item['rank']}. {item['title']}  ({item['item_id']}, score {item['score']:.2f})")
        say(f"     picture: {item['picture']}")
        say(f"     why: {item['reason']}")
    say("(A reason is how far each part of the score lifts the film above the user's average one.)")
    say()
    say("Two things to try next:")
    say(f"  privfedmm recommend {folder} --user u1 --explain")
    say(f"  privfedmm run --dataset {DATASET} --dp-epsilon 2     # with a promise about privacy")
