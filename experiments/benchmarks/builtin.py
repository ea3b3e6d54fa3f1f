"""`privfedmm bench builtin`: every line on the built-in data, and on other draws of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean, stdev

from privfedmm.data import (
    CINEMA_SEED,
    DATA_SEED,
    CinemaShape,
    Dataset,
    PlantedShape,
    cinema,
    planted,
)
from privfedmm.front import train
from privfedmm.runs.record import set_threads

METHODS = ("gfmfr", "backbone", "local")
LINES = ("random", "popularity", "public_features", "popularity_profile", "ease")
METRIC = "ndcg@50"
Draw = Callable[[int], Dataset]
# name -> the seed of the draw that ships, and how it is drawn
DRAWS: dict[str, tuple[int, Draw]] = {
    "cinema": (CINEMA_SEED, lambda seed: cinema(seed, CinemaShape())),
    "planted": (DATA_SEED, lambda seed: planted(seed, PlantedShape())),
}


def bench(
    name: str, seeds: Sequence[int], draws: Sequence[int], say: Callable[[str], None]
) -> str:
    """Return Markdown: test METRIC of every line on one of DRAWS, as it ships and in other draws.

    seeds: of the methods, on the draw that ships; on the others the first of them alone. draws: the
    data seeds of the others.
    """
    set_threads(1)
    own, draw = DRAWS[name]
    columns = [_figures(draw(own), seeds, say)]
    columns += [_figures(draw(seed), seeds[:1], say) for seed in draws]
    head = ["line", f"`{name}`", *(f"draw {seed}" for seed in draws)]
    rows = [[line, *(_cell(column[line]) for column in columns)] for line in columns[0]]
    if draws:
        head.append("mean over draws")
        for row, line in zip(rows, columns[0], strict=True):
            row.append(f"{mean(mean(column[line]) for column in columns):.4f}")
    return "\n".join(["| " + " | ".join(cells) + " |"
                      for cells in (head, ["---"] * len(head), *rows)]) + "\n"


def _figures(
    data: Dataset, seeds: Sequence[int], say: Callable[[str], None]
) -> dict[str, list[float]]:
    """The metric of every line on a data set, one value a seed."""
    out: dict[str, list[float]] = {}
    for method in METHODS:
        for seed in seeds:
            lines = LINES if method == METHODS[0] else ()
            run = train(data, method, seed=seed, baselines=lines)
            found = run.metrics.xs("test", level="target")[METRIC]
            for line, value in found.items():
                out.setdefault(str(line), []).append(float(value))
            say(f"{data.protocol.note}: {method}, seed {seed}: {found[method]:.4f}, "
                f"{run.record['stopped']['round']} rounds")
    return out


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.4f}" if len(set(values)) > 1 else ""
    return f"{mean(values):.4f}{spread}"
