"""Twelve short runs and digests of their numbers: `python -m tests.equal_runs`.

The same seeds give the same numbers, to the last bit, until a change means to alter them. So the
runs are played through the command line of one checkout and of another, and compared:

    python -m tests.equal_runs --tree OTHER_CHECKOUT --json before.json
    python -m tests.equal_runs --against before.json

Both belong on one machine with one set of libraries: another torch or another processor adds in
another order. docs/results/equal_runs.md has what three commits gave.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ITEMS = "240"  # of the planted data: a ranking of all of them is every score of a user
USERS = ("u0", "u299")
# Baselines are compared elsewhere. Noise from the seed is the only kind that can be repeated.
COMMON = ("--dataset", "planted", "--rounds", "4", "--set", "baselines=[]")
PRIVATE = ("--dp-epsilon", "8", "--noise", "simulation")

RUNS: Mapping[str, Sequence[str]] = {
    "gfmfr (private groups)": ("--method", "gfmfr"),
    "gfmfr, no groups, cold items": ("--method", "gfmfr", "--cold-items", "0.2", "--seed", "1",
                                     "--set", "algorithm.groups.grouping=none",
                                     "--set", "algorithm.distillation.weight=0"),
    "fedrap, no features": ("--method", "gfmfr", "--backbone", "fedrap", "--modalities", "none"),
    "backbone": ("--method", "backbone", "--seed", "1"),
    "local": ("--method", "local"),
    "group_statistics": ("--method", "group_statistics", "--seed", "1"),
    "taste": ("--method", "taste"),
    "popularity_profile": ("--method", "popularity_profile", "--seed", "1"),
    "reference mode": ("--method", "gfmfr", "--mode", "reference"),
    "masked, ring mode": ("--method", "gfmfr", "--aggregation", "masked",
                          "--set", "secure.mode=ring", "--seed", "1"),
    "private, user unit": ("--method", "gfmfr", *PRIVATE),
    "private, interaction unit": ("--method", "gfmfr", "--unit", "interaction", *PRIVATE,
                                  "--seed", "1"),
}

Figures = Mapping[str, str | float]  # of one run: digests by what they are of, and NDCG@50


def play(tree: Path, arguments: Sequence[str]) -> Figures:
    """Play one run with the code in `tree` and return its figures.

    metrics: a digest of all metrics of the record. curve: of what every round reports, without
    seconds and bytes. scores: of every item's score for two users, by the model that was kept.
    ndcg@50: of the test split, for the eye. Raises SystemExit where a command fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "run"
        _privfedmm(tree, temporary, "run", *COMMON, *arguments, "--out", str(out))
        metrics = json.loads((out / "record.json").read_text(encoding="utf-8"))["metrics"]
        rounds = (out / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
        answers = [json.loads(_privfedmm(tree, temporary, "recommend", str(out), "--user", user,
                                         "--top", ITEMS, "--json")) for user in USERS]
    return {
        "metrics": digest(metrics),
        "curve": digest([_numbers(json.loads(line)) for line in rounds]),
        "scores": digest([[(item["item_id"], item["score"]) for item in answer["items"]]
                          for answer in answers]),
        "ndcg@50": metrics["test"]["ndcg@50"],
    }


def digest(values: Any) -> str:
    """Return a SHA-256 of nested values, floats with all digits that tell them from others."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a round's log says of training: not how long it took, nor what it sent."""
    return {name: value for name, value in row.items()
            if name != "seconds" and not name.startswith("bytes_")}


def _privfedmm(tree: Path, folder: str, *arguments: str) -> str:
    """Run a command of the checkout in a folder of its own and return its standard output."""
    done = subprocess.run([sys.executable, "-m", "experiments", *arguments], cwd=folder, text=True,
                          env=_environment(tree, folder), capture_output=True, check=False)
    if done.returncode != 0:
        words = " ".join(arguments)
        raise SystemExit(f"privfedmm {words}: exit {done.returncode}\n{done.stderr.rstrip()}")
    return done.stdout


def _environment(tree: Path, folder: str) -> dict[str, str]:
    """Return variables under which a process takes the packages of the checkout, in one thread.

    What private runs cost is noted in the folder, not in the account of who plays them.
    """
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1",
            "PRIVFEDMM_STATE": folder}


def check_tree(tree: Path) -> None:
    """Raise SystemExit where a process would not take the packages of the checkout `tree`."""
    code = ("import experiments, privfedmm, privacy\n"
            "for package in (experiments, privfedmm, privacy): print(package.__file__)")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, text=True, check=False,
                              env=_environment(tree, folder), capture_output=True)
    found = [Path(line) for line in done.stdout.splitlines()]
    if len(found) != 3 or not all(path.is_relative_to(tree) for path in found):
        raise SystemExit(f"--tree: {tree} is no checkout whose packages can be imported; "
                         f"give its folder\n{done.stderr}".rstrip())


def differences(now: Mapping[str, Figures], before: Mapping[str, Figures]) -> list[str]:
    """Return a sentence for every run of `now` that has other figures in `before`, or none."""
    out = []
    for name, figures in now.items():
        if name not in before:
            out.append(f"{name}: not among the runs to compare with")
        elif other := [what for what, value in figures.items() if before[name].get(what) != value]:
            out.append(f"{name}: other {', '.join(other)}")
    return out


def main() -> int:
    """Play runs, print their figures, write or compare them. Return 1 where they differ."""
    parser = argparse.ArgumentParser(description="Short runs and digests of their numbers.")
    parser.add_argument("--tree", type=Path, default=ROOT,
                        help="the checkout to run; default: the one this file is in")
    parser.add_argument("--only", action="append", choices=list(RUNS), metavar="NAME",
                        help="play this run alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--against", type=Path, metavar="FILE",
                        help="compare with figures of --json; exit 1 and name those that differ")
    given = parser.parse_args()
    before = json.loads(given.against.read_text(encoding="utf-8")) if given.against else {}
    tree = given.tree.resolve()
    check_tree(tree)
    now: dict[str, Figures] = {}
    print(f"{'run':30} {'metrics':12} {'curve':12} {'scores':12} test NDCG@50")
    for name in given.only or RUNS:
        now[name] = play(tree, RUNS[name])
        print(f"{name:30} {now[name]['metrics']:.12} {now[name]['curve']:.12} "
              f"{now[name]['scores']:.12} {now[name]['ndcg@50']!r}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    if not given.against:
        return 0
    found = differences(now, before)
    print("\n".join(found) if found else f"all {len(now)} equal to {given.against}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
