"""Tables from run records. Every figure comes from a named run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.report.finding import Found, Group, cells, columns, find
from privfedmm.base.errors import UserError
from privfedmm.evaluation import cut_of, paired_interval
from privfedmm.runs import finished
from privfedmm.runs.finished import ROUNDS, read_ranks
from privfedmm.runs.record import same_protocol
from privfedmm.runs.trust import BELOW, below, sentence

KEYS = ("hr@10", "ndcg@10", "hr@50", "ndcg@50")
JUDGED = "ndcg@50"


def find_runs(folders: Iterable[Path]) -> dict[str, dict[int, Path]]:
    """Return the finished runs below the folders: name -> seed -> folder.

    One name an identity: the label, and where several runs have one, what they differ in. Raises
    UserError where there is none.
    """
    return {name: group.seeds for name, group in find(folders).groups.items()}


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a finished run, with what curves need. Raises RecordError for a damaged
    one."""
    record = finished.read_record(folder)
    # Records of earlier versions know of no curves.
    return {"series": "", "dp_epsilon": None, "validation_by_round": _validation(folder), **record}


def _validation(folder: Path) -> list[tuple[int, float]]:
    rounds = [json.loads(line) for line in
              (folder / ROUNDS).read_text(encoding="utf-8").splitlines()]
    return [(r["round"], r["validation"]["ndcg@50"]) for r in rounds if "validation" in r]


@dataclass(frozen=True)
class Runs:
    """These are the finished runs of one data set by label, in the order of tables."""

    folders: dict[str, dict[int, Path]]
    records: dict[str, list[dict[str, Any]]]
    groups: dict[str, Group]
    notes: list[str]

    @classmethod
    def each(cls, found: Found) -> list[Runs]:
        """Read the runs that were found, those of each data set by themselves. Raises UserError
        where runs on one data set were ranked under different protocols."""
        return [cls._of(one) for one in found.by_data()]

    @classmethod
    def _of(cls, found: Found) -> Runs:
        groups = found.groups
        records = {name: [read_record(folder) for folder in group.seeds.values()]
                   for name, group in groups.items()}
        _refuse_protocols(records)
        order = sorted(groups, key=lambda label: place(records[label][0]))
        return cls({n: groups[n].seeds for n in order}, {n: records[n] for n in order},
                   {n: groups[n] for n in order}, found.notes)

    @property
    def data(self) -> dict[str, Any]:
        """Return what the records say of the data."""
        dataset: dict[str, Any] = next(iter(self.records.values()))[0]["dataset"]
        return dataset

    @property
    def ranked(self) -> tuple[int, ...]:
        """Return the numbers of users whose held-out items are ranked in the test, one where it is
        the same for all runs."""
        return tuple(sorted({group.data.ranked for group in self.groups.values()}))

    @property
    def columns(self) -> list[str]:
        """Return the heads of the cells of `what`: the budget always, and what differs."""
        return columns(list(self.groups.values()))

    def what(self, label: str) -> list[str]:
        """Return what the runs of a label are, one cell for each of `columns`."""
        return cells(self.groups[label], list(self.groups.values()))

    def rival(self, label: str, against: str) -> str | None:
        """Return the label that `label` is compared with: `against`, or its point at the same
        epsilon."""
        if against in self.folders:
            return against if against != label else None
        mine = self.records[label][0]
        if mine["series"] == against or not against:
            return None
        epsilon = mine["dp_epsilon"] or "inf"
        for other, records in self.records.items():
            if records[0]["series"] == against and records[0]["dp_epsilon"] == epsilon:
                return other
        return None

    def has(self, name: str) -> bool:
        """Return whether runs have the name, or the label, or are of a curve that has it."""
        return name in self.folders or any(
            group.label == name for group in self.groups.values()) or any(
            r["series"] == name for rs in self.records.values() for r in rs)

    def check(self, against: str) -> None:
        """Check the name `against`. Raises UserError for a name that no run has."""
        same = [name for name, group in self.groups.items() if group.label == against]
        if against and against not in self.folders and same:
            raise UserError(f"--against: {len(same)} groups of runs are labelled {against!r}; name "
                            f"one of them: {', '.join(same)}")
        series = {r["series"] for rs in self.records.values() for r in rs}
        if against and against not in self.folders and against not in series:
            raise UserError(f"--against: no run is labelled {against!r}; labels are "
                            f"{', '.join(self.folders)}")

    def baselines(self) -> dict[str, list[dict[str, Any]]]:
        """Return a map from the name of a baseline to what each run that computed it found."""
        out: dict[str, list[dict[str, Any]]] = {}
        for records in self.records.values():
            for record in records:
                for name, line in record["baselines"].items():
                    out.setdefault(name, []).append(line)
        return out

    def baseline_seeds(self, name: str) -> int:
        """Return with how many seeds a baseline was computed."""
        return len({record["seed"] for records in self.records.values() for record in records
                    if name in record["baselines"]})

    def gains(self, label: str) -> np.ndarray:
        """Return NDCG@50 of each user who is ranked in the test, [seeds, users]."""
        folders, cut = self.folders[label], cut_of(JUDGED)
        return np.stack([cut.judged(read_ranks(folders[s])["test"]) for s in sorted(folders)])

    def paired(
        self, ours: str, theirs: str, seeds: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return NDCG@50 of each user who is ranked in the test by both, [seeds, users] each."""
        pairs = [cut_of(JUDGED).paired(*(read_ranks(self.folders[label][seed])["test"]
                                         for label in (ours, theirs))) for seed in seeds]
        return np.stack([one for one, _ in pairs]), np.stack([other for _, other in pairs])


def place(record: dict[str, Any]) -> tuple[int, str, float, str]:
    """Return by what rows are sorted: those with a budget first, curve by curve."""
    epsilon = record["dp_epsilon"]
    value = float("inf") if epsilon in (None, "inf") else float(epsilon)
    return (epsilon is None, record["series"], value, record["label"])


def head(runs: Runs, against: str) -> list[str]:
    """Return the heads of a row: the model, and those of the cells of `rows`."""
    return ["model", *runs.columns, "seeds", *KEYS, "validation ndcg@50",
            *([f"ndcg@50 against {against} (95% interval)"] if against else [])]


def rows(runs: Runs, against: str) -> list[tuple[str, list[str]]]:
    """Return each label with its cells: what it is, seeds, test metrics, validation, and the paired
    difference. A result below what needs less trust is marked."""
    low = marked(runs)
    out = []
    for label, records in runs.records.items():
        cells = [*runs.what(label), str(len(records))]
        cells += [spread([r["metrics"]["test"][k] for r in records])
                  + (f" {BELOW}" if k == JUDGED and label in low else "") for k in KEYS]
        cells.append(spread([r["metrics"]["validation"]["ndcg@50"] for r in records]))
        if against:
            rival = runs.rival(label, against)
            cells.append("" if rival is None else _paired(runs, label, rival))
        out.append((label, cells))
    return out


def preface(runs: Runs) -> list[str]:
    """Return data, protocol, what is claimed, what is marked and what is left out, as
    paragraphs."""
    records = [r for rs in runs.records.values() for r in rs]
    private = [r["privacy"] for r in records if r["privacy"]["epsilon"]]
    claim = records[0]["privacy"]["reason"]
    if private:
        first = private[0]
        sources = ", ".join(sorted({p["noise_source"] for p in private}))
        trusts = ", ".join(sorted({p["trust"] for p in private}))
        deltas = ", ".join(sorted({f"{p['delta']:g}" for p in private}))
        claim = (f"where a row names an epsilon, it is of one {first['unit']}, "
                 f"{first['adjacency']}, delta {deltas}, trust {trusts}, noise source {sources}; "
                 "epsilon inf and rows without one claim nothing")
    paragraphs = [
        f"Data: {described(runs)}",
        "",
        f"Generated by `privfedmm report` from run records. Privacy: {claim}.",
    ]
    for note in [*marked(runs).values(), *runs.notes]:
        paragraphs += ["", note if note.endswith(".") else note + "."]
    return paragraphs


def described(runs: Runs) -> str:
    """Return the data and the protocol of the runs, in words."""
    records = [r for rs in runs.records.values() for r in rs]
    data, protocol = runs.data, records[0]["protocol"]
    selections = sorted({r["protocol"]["selection"] for r in records})
    listed = [r["dataset"] for r in records
              if (r["dataset"]["items"], r["dataset"]["users"]) != (data["items"], data["users"])]
    other = (f"Over another set of items ({listed[0]['items_from']}): {listed[0]['items']}"
             + (f", of {listed[0]['users']} users" if listed[0]["users"] != data["users"] else "")
             + ". ") if listed else ""
    ranked = "" if runs.ranked == (data["users"],) else (
        f" ({' or '.join(map(str, runs.ranked))} of them ranked, with and without a budget; "
        "intervals are over those ranked in both)" if len(runs.ranked) > 1 else
        f" ({runs.ranked[0]} of them ranked)")
    return (
        f"{data['name']}, {data['users']} users{ranked}, {data['items']} items, "
        f"{data['interactions']} interactions, SHA-256 {data['sha256'][:12]}. {other}"
        f"Split: {protocol['split']}; {protocol['ranking']} ranking, ties {protocol['ties']}; "
        f"selection: {' / '.join(selections)}.")


def marked(runs: Runs) -> dict[str, str]:
    """Return the labels whose result is below what needs less trust, each with a sentence on
    it.

    Where a label's own runs left a baseline out, the one that others computed on the same data
    counts.
    """
    out = {}
    every = {name: [line["test"][JUDGED] for line in found]
             for name, found in runs.baselines().items()}
    for label, records in runs.records.items():
        lines: dict[str, list[float]] = {}
        for record in records:
            for name, line in record["baselines"].items():
                lines.setdefault(name, []).append(line["test"][JUDGED])
        ndcg = float(np.mean([record["metrics"]["test"][JUDGED] for record in records]))
        better = below(ndcg, records[0].get("trusted_with"), {
            name: float(np.mean(values)) for name, values in {**every, **lines}.items()})
        if better:
            out[label] = sentence(label, ndcg, better)
    return out


def _refuse_protocols(records: dict[str, list[dict[str, Any]]]) -> None:
    """Raise UserError where runs were ranked or split in different ways: their figures do not
    compare."""
    ways: dict[tuple[str, ...], list[str]] = {}
    for label, found in records.items():
        for record in found:
            ways.setdefault(same_protocol(record), []).append(label)
    if len(ways) > 1:
        words = "; ".join(f"{', '.join(dict.fromkeys(labels))}: {', '.join(way)}"
                          for way, labels in ways.items())
        raise UserError("report: the runs were judged under different protocols, so their figures "
                        f"do not compare ({words}); report each by itself")


def spread(values: Sequence[float]) -> str:
    """Return the mean of a figure, with the standard deviation where there are several."""
    mean = float(np.mean(values))
    return f"{mean:.4f}" if len(values) < 2 else f"{mean:.4f} ± {np.std(values, ddof=1):.4f}"


def _paired(runs: Runs, ours: str, theirs: str) -> str:
    common = sorted(runs.folders[ours].keys() & runs.folders[theirs].keys())
    if not common:
        return "no seed in common"
    mean, low, high = paired_interval(*runs.paired(ours, theirs, common), seed=0)
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"
