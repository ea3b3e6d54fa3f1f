"""Many runs from one file: variants x epsilons x seeds, each resumable on its own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any

from privfedmm.base.errors import UserError
from privfedmm.base.interrupts import begun, ignored
from privfedmm.config import RunConfig, read_toml, resolve
from privfedmm.evaluation import SHOWN
from privfedmm.privacy_plan.continuing import LEDGER
from privfedmm.runs import run as runs
from privfedmm.runs.account import curve_costs
from privfedmm.runs.differences import flat
from privfedmm.runs.finished import RecordError, read_record
from privfedmm.runs.identity import changes
from privfedmm.runs.record import shown


@dataclass(frozen=True)
class Job:
    """A job is one run of a sweep: its name, settings and folder."""

    name: str
    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class Swept:
    """A sweep has come to an end with this.

    finished: folders of the runs that are whole. failed: the other ones, a sentence each. says:
    what was done, in a sentence.
    """

    finished: list[Path]
    failed: list[str]
    says: str

    def check(self) -> None:
        """Check that all runs are finished. Raises UserError where some are not."""
        if self.failed:
            raise UserError(
                f"{len(self.failed)} runs did not finish; the first: {self.failed[0]}")


@dataclass(frozen=True)
class Instead:
    """This holds what a caller wants in place of what a sweep file says; None: what it says.

    dataset, metrics: of all runs. labels: the variants to play. seeds: of every variant.
    """

    dataset: str | None = None
    metrics: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    seeds: Sequence[int] | None = None


AS_WRITTEN = Instead()


def jobs(file: Path, out: Path, instead: Instead = AS_WRITTEN) -> Iterator[Job]:
    """Yield the runs of a sweep file.

    A variant may name its own seeds and epsilons; epsilons = [] is a variant without privacy.
    Raises UserError for a malformed file, and for a label that it does not have.
    """
    plan = read_toml(file)
    unknown = plan.keys() - {"seeds", "epsilons", "base", "variants"}
    if unknown or not plan.get("seeds") or not plan.get("variants"):
        raise UserError(f"{file.name}: needs seeds = [...] and [[variants]], maybe epsilons and "
                        "[base]"
                        + (f"; unknown: {', '.join(sorted(unknown))}" if unknown else ""))
    if not isinstance(plan["variants"], list):
        raise UserError(f"{file.name}: variants is a list of tables: write each under "
                        "[[variants]], with its label")
    for variant in plan["variants"]:
        if not isinstance(variant, dict) or not variant.get("label"):
            raise UserError(f"{file.name}: every [[variants]] needs a label")
    for variant in _chosen(plan["variants"], instead.labels, file):
        settings = {k: v for k, v in variant.items() if k not in ("seeds", "epsilons")}
        for epsilon in variant.get("epsilons", plan.get("epsilons", [])) or [None]:
            label = variant["label"] if epsilon is None else (
                f"{variant['label']}, epsilon {epsilon:g}")
            flags = flat(plan.get("base", {})) | flat(settings)
            flags = {"series": variant["label"], **flags, "label": label}
            if instead.dataset is not None:
                flags["dataset"] = instead.dataset
            if instead.metrics is not None:
                flags["evaluation.metrics"] = list(instead.metrics)
            if epsilon is None:
                flags = {k: v for k, v in flags.items() if not k.startswith("dp.")}
            else:
                flags["dp.epsilon"] = float(epsilon)
            for seed in instead.seeds or variant.get("seeds", plan["seeds"]):
                folder = out / label.replace(" ", "_").replace("/", "_") / f"seed{seed}"
                yield Job(f"{label} seed {seed}", resolve(None, flags | {"seed": seed}), folder)


def _chosen(
    variants: list[dict[str, Any]], labels: Sequence[str] | None, file: Path
) -> list[dict[str, Any]]:
    """The variants of these labels, in the order of the file."""
    known = [variant["label"] for variant in variants]
    absent = [label for label in labels or () if label not in known]
    if absent:
        raise UserError(f"--only: {file.name} has no variant {absent[0]!r}; it has "
                        f"{'; '.join(known)}")
    return [v for v in variants if labels is None or v["label"] in labels]


def changed(job: Job) -> list[str]:
    """Return in what a job differs from the run that its folder holds; nothing where it holds
    none."""
    return changes(job.folder, job.config)


def beside(job: Job) -> Job:
    """Return the job in a folder of its own, beside those that runs of other settings hold."""
    for number in count(2):
        moved = replace(job, folder=job.folder.with_name(f"{job.folder.name}-{number}"))
        if not changed(moved):
            return moved
    raise AssertionError("unreachable")


def play(job: Job) -> str:
    """Run or continue a job and return one line of result."""
    if (job.folder / runs.CONFIG).exists():
        record = runs.resume(job.folder, lambda row: None)
    else:
        record = runs.start(job.config, job.folder, lambda row: None)
    asked = shown(record)
    names = ("ndcg@50",) if asked == SHOWN else asked
    return f"{job.name}: " + "; ".join(
        f"{part} " + ", ".join(f"{name} {record['metrics'][part][name]:.4f}" for name in names)
        for part in ("validation", "test"))


def costs(played: Iterable[Job]) -> list[str]:
    """Return what the finished private runs of a sweep cost together; nothing without any."""
    return curve_costs(
        (read_record(job.folder), json.loads((job.folder / LEDGER).read_text(encoding="utf-8")))
        for job in played if damage(job) == "")


def damage(job: Job) -> str | None:
    """Return what is wrong with the record of a job: nothing, as "", where it is whole; None where
    the job is not finished."""
    if not (job.folder / runs.RECORD).exists():
        return None
    try:
        read_record(job.folder)
    except RecordError as error:
        return (f"{error}; remove that file, and the sweep makes it anew from the checkpoint, or "
                "remove the folder")
    return ""


def _refuse_changed(every: Iterable[Job]) -> None:
    found = [(job, differs) for job in every if (differs := changed(job))]
    if found:
        job, differs = found[0]
        raise UserError(
            f"sweep: {len(found)} of the runs are there with other settings, the first in "
            f"{job.folder}: {'; '.join(differs)}; put the settings back, name another --out, or "
            "give --beside to make new runs beside the old ones")


def _refuse_twice(every: Iterable[Job]) -> None:
    """Two jobs in one folder would be one run."""
    seen: dict[Path, Job] = {}
    for job in every:
        first = seen.setdefault(job.folder, job)
        if first is not job:
            raise UserError(f"sweep: two runs are called {job.name!r} and would share the folder "
                            f"{job.folder}; give each variant a label of its own")


def _end_with_parent() -> None:
    """In a worker: end as soon as the process that started it has, however that ended."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        # What it was writing is whole or not there, and its run goes on from the last round.
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_sweep(
    file: Path, out: Path, instead: Instead, say: Callable[[str], None], processes: int = 1,
    move: bool = False,
) -> Swept:
    """Play what is not finished, in `processes` processes; a failed run does not stop the others.

    At the end it says what all private runs of the sweep cost together, on the same users.
    instead: what of the file is not wanted as it is written. move: whether runs whose settings have
    changed since are made beside the old ones.

    Raises UserError for a malformed file, and for changed settings before anything is played; what
    runs failed, or have a damaged record, is in what it returns.
    """
    begun()
    every = list(jobs(file, out, instead))
    if move:
        every = [beside(job) if changed(job) else job for job in every]
    _refuse_changed(every)
    _refuse_twice(every)
    states = {job.name: damage(job) for job in every}
    todo = [job for job in every if states[job.name] is None]
    failed = [f"{name}: {text}" for name, text in states.items() if text]
    for line in failed:
        say(f"left out: {line}")

    def note(job: Job, result: Callable[[], str]) -> None:
        try:
            say(result())
        except UserError as error:
            failed.append(f"{job.name}: {error}")
            say(failed[-1])

    if processes == 1:
        for job in todo:
            note(job, partial(play, job))
    else:
        pool = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_end_with_parent)
        try:
            with ignored():  # by the workers too: a Ctrl-C reaches them, and is not theirs to tell
                running = {pool.submit(play, job): job for job in todo}
            for done in as_completed(running):
                note(running[done], done.result)
        except KeyboardInterrupt:
            for worker in active_children():
                worker.terminate()  # a run goes on from its last round
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    for line in costs(every):
        say(line)
    return Swept([job.folder for job in every if damage(job) == ""], failed,
                 f"{len(todo)} runs played, {len(every) - len(todo)} were there; wrote {out}")
