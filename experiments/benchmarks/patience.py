"""`privfedmm bench patience`: what stopping early loses, from validation curves of several data
sets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from privfedmm.base.errors import UserError
from privfedmm.base.files import write_text
from privfedmm.config import resolve, settled
from privfedmm.config.sections import PATIENCE, ROUNDS
from privfedmm.evaluation import BestRound, Ranks, metrics_from_ranks
from privfedmm.runs.record import set_threads
from privfedmm.runs.rounds import play_round
from privfedmm.runs.run import in_one_process, load_data
from privfedmm.runs.session import Session

METRIC = "ndcg@50"
PATIENCES, CAPS = (5, 10, 15, 20, 30, 50), (50, 100, 200)


@dataclass(frozen=True)
class Curve:
    """A curve is one run that nothing stopped.

    planned: the rounds that it was set to. validation, test: METRIC after each round. seconds: CPU
    seconds of each round, training and evaluation.
    """

    dataset: str
    seed: int
    planned: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Stopped:
    """This is what a curve gives where patience stops it.

    rounds: the rounds played. best: the index of the best of them by validation. lost: the best
    validation of the whole curve less that of these rounds. test: the test metric at the best
    round. seconds: CPU seconds of the rounds played.
    """

    rounds: int
    best: int
    lost: float
    test: float
    seconds: float


def stopped(curve: Curve, patience: int, cap: int) -> Stopped:
    """Return what a curve gives under a patience (0 for none) and a cap on the rounds."""
    best, played = BestRound(patience), 0
    for value in curve.validation[:cap]:
        best.better(value, played)
        played += 1
        if best.stop:
            break
    return Stopped(played, best.round, max(curve.validation) - best.value, curve.test[best.round],
                   sum(curve.seconds[:played]))


def collect(
    dataset: str, seed: int, rounds: int, folder: Path, say: Callable[[str], None],
    name: str = "",
) -> None:
    """Write the curve of gfmfr's defaults on a data set, where it is not there yet.

    name: what the data set is called in tables. The test metric is looked at here after each round,
    to report it; nothing is chosen by it. Raises UserError.
    """
    name = name or Path(dataset).name
    target = folder / f"{name.replace(':', '-')}-seed{seed}-rounds{rounds}.json"
    if target.exists() and len(json.loads(target.read_text("utf-8"))["seconds"]) == rounds:
        return
    set_threads(1)
    config = resolve(None, {"dataset": dataset, "seed": seed, "rounds": rounds,
                            "evaluation.patience": 0, "algorithm.opening.on": False})
    data = load_data(config)
    session = Session.start(settled(config, data.train_age is not None), data)
    means, last = in_one_process(session, data), dict[str, Ranks]()

    def ranks(session: Session) -> Mapping[str, Ranks]:
        last.update(means.ranks(session))
        return last

    rows: dict[str, list[float]] = {"validation": [], "test": [], "seconds": []}
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(rounds):
        started = time.process_time()
        play_round(session, replace(means, ranks=ranks))
        rows["seconds"].append(time.process_time() - started)
        for part in ("validation", "test"):
            rows[part].append(metrics_from_ranks(last[part])[METRIC])
        write_text(target, json.dumps({"dataset": name, "seed": seed, "planned": rounds, **rows}))
    say(f"{name}, seed {seed}: best validation {max(rows['validation']):.4f} in round "
        f"{1 + int(np.argmax(rows['validation']))} of {rounds}, {sum(rows['seconds']):.0f} s")


def read(folder: Path) -> list[Curve]:
    """Return the curves of a folder, by data set and seed. Raises UserError where there are none.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise UserError(f"--curves: there is no curve in {folder}; name data sets to make some")
    return [Curve(c["dataset"], c["seed"], c["planned"], tuple(c["validation"]), tuple(c["test"]),
                  tuple(c["seconds"])) for c in found]


def table(curves: Sequence[Curve], patiences: Sequence[int], caps: Sequence[int]) -> str:
    """Return Markdown: by data set and over all, what each patience and cap loses and costs.

    Losses are relative to the best validation of the whole curve, means over seeds, and so is CPU
    time. A curve that is not finished counts as far as it goes.
    """
    names = list(dict.fromkeys(c.dataset for c in curves))
    head = ["rounds at most", "patience", *names, "worst", "CPU time, mean", "CPU time, worst"]
    lines = [_row(head), _row(["---"] * len(head))]
    for cap in caps:
        for patience in (*patiences, 0):
            lost, cost = [], []
            for name in names:
                mine = [(c, stopped(c, patience, cap)) for c in curves if c.dataset == name]
                lost.append(float(np.mean([s.lost / max(c.validation) for c, s in mine])))
                cost.append(float(np.mean([s.seconds / sum(c.seconds) for c, s in mine])))
            lines.append(_row([str(cap), str(patience or "never"), *(f"{x:.1%}" for x in lost),
                               f"{max(lost):.1%}", f"{np.mean(cost):.0%}", f"{max(cost):.0%}"]))
    return "\n".join(lines)


def chosen(curves: Sequence[Curve], patience: int, cap: int) -> str:
    """Return Markdown: what one patience and cap gives on each data set, the test metric beside.

    The test metric is that of the round with the best validation, of the stopped curve and of the
    whole one.
    """
    head = ["data set", "seeds", "rounds of the curve", "stops after", "best round", "test",
            "best of all rounds", "its test", "CPU seconds", "of all rounds"]
    lines = [_row(head), _row(["---"] * len(head))]
    for name in dict.fromkeys(c.dataset for c in curves):
        mine = [c for c in curves if c.dataset == name]
        ends = [stopped(c, patience, cap) for c in mine]
        full = [stopped(c, 0, c.planned) for c in mine]
        lines.append(_row([
            name, str(len(mine)), _list(len(c.validation) for c in mine),
            _list(e.rounds for e in ends), _list(e.best + 1 for e in ends),
            f"{np.mean([e.test for e in ends]):.4f}", _list(f.best + 1 for f in full),
            f"{np.mean([f.test for f in full]):.4f}",
            f"{np.mean([e.seconds for e in ends]):.0f}",
            f"{np.mean([f.seconds for f in full]):.0f}"]))
    return "\n".join(lines)


def _list(values: object) -> str:
    return ", ".join(str(v) for v in values)  # type: ignore[attr-defined]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def bench(
    datasets: Sequence[str], seeds: Sequence[int], rounds: int, folder: Path,
    say: Callable[[str], None],
) -> str:
    """Collect the curves that are not in a folder yet, and return Markdown of all that are there.

    Raises UserError.
    """
    for dataset in datasets:
        for seed in seeds:
            collect(dataset, seed, rounds, folder, say)
    curves = read(folder)
    longest = max(c.planned for c in curves)
    caps = sorted({cap for cap in CAPS if cap < longest} | {longest})
    return "\n".join([
        f"## What {METRIC} on validation loses to the best of all rounds", "",
        table(curves, PATIENCES, caps), "",
        f"## The defaults: at most {ROUNDS} rounds, patience {PATIENCE}", "",
        chosen(curves, PATIENCE, ROUNDS), ""])
