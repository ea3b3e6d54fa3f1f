"""The parts of the example package: how a user asks for each, and what shows that it was taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commands import BARE, cli

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin"
METHOD = "fedavg_embeddings"
NAMES = {"methods": METHOD, "backbones": "fcf", "groupings": "cross_polytope",
         "fusions": "low_rank_bilinear", "noises": "laplace", "aggregators": "two_servers",
         "layouts": "SQLite", "metrics": "rbp"}

PLANTED = ("--dataset", "planted:60")
GROUPED = ("--method", "gfmfr", "--set", "algorithm.groups.grouping=private", "--set",
           "algorithm.groups.start_round=0", "--set", "algorithm.distillation.weight=0.03")
SHOP_USERS = 6
_SHOP = "DATABASE"  # stands for the folder that only the package's layout can read

# Noise that follows from the seed passes an audit for good or fails it for good: of seed 0 it is
# one of the one in two hundred that fail honestly, in the method's table.
SEED = ("--seed", "1")
BUDGET = ("--dp-epsilon", "8", "--set", "dp.noise=simulation", "--set", "dp.subspace_rank=0")
UNDER: dict[str, tuple[str, ...]] = {
    "plain": (),
    "private": BUDGET,
    "masked": ("--aggregation", "masked"),
    "private-masked": (*BUDGET, "--aggregation", "masked"),
    "distributed": (*BUDGET, "--aggregation", "masked", "--set", "dp.trust=distributed"),
    "local": (*BUDGET, "--set", "dp.trust=local"),
}


@dataclass(frozen=True)
class Part:
    """flags: ask for it. shown: what records of its runs hold, and of runs without it do not.
    modes: of compare. without: protections that it does not go with."""

    flags: tuple[str, ...]
    shown: tuple[str, ...]
    modes: str = "plain,masked"
    without: tuple[str, ...] = ()

    @property
    def protections(self) -> tuple[str, ...]:
        return tuple(name for name in UNDER if name not in self.without)

    @property
    def user(self) -> str:
        return "007" if _SHOP in self.flags else "u3"

    @property
    def rows(self) -> str:
        """A file of a user's own rows, who was in no run."""
        return "item_id\n1\n4\n" if _SHOP in self.flags else "item_id\ni1\ni2\ni3\n"

    def asked(self, database: Path) -> tuple[str, ...]:
        return tuple(str(database) if flag == _SHOP else flag for flag in self.flags)


PARTS = {
    "method": Part((*PLANTED, "--method", METHOD, "--set", "settings.dim=8"),
                   (f'"method": "{METHOD}"',)),
    "backbone": Part((*PLANTED, "--method", "gfmfr", "--set", "algorithm.model.backbone=fcf"),
                     ('"backbone": "fcf"',)),
    "grouping": Part((*PLANTED, *GROUPED, "--set", "algorithm.groups.grouping=cross_polytope"),
                     ('"grouping": "cross_polytope"',)),
    "fusion": Part((*PLANTED, *GROUPED, "--set", "algorithm.fusion.module=low_rank_bilinear"),
                   ('"fusion": "low_rank_bilinear"',)),
    # A noise needs a budget, and this one is added to the sum.
    "noise": Part((*PLANTED, "--method", "backbone", "--set", "dp.mechanism=laplace"),
                  ('"event": "CentralLaplace"',),
                  without=("plain", "masked", "distributed", "local")),
    # It stands in the place of masks; of devices that trust nobody it would hide nothing.
    "aggregator": Part((*PLANTED, "--method", "backbone", "--set", "aggregation=two_servers"),
                       ('"aggregation": "two_servers"',),
                       modes="plain,two_servers", without=("masked", "private-masked", "local")),
    "layout": Part(("--dataset", _SHOP, "--set", "k_core=0", "--method", "backbone"),
                   (f'"users": {SHOP_USERS}',)),
    "together": Part((*PLANTED, *GROUPED, "--set", "algorithm.model.backbone=fcf", "--set",
                      "algorithm.groups.grouping=cross_polytope", "--set",
                      "algorithm.fusion.module=low_rank_bilinear", "--set",
                      "dp.mechanism=laplace", "--set", "aggregation=two_servers"),
                     ('"backbone": "fcf"', '"grouping": "cross_polytope"',
                      '"fusion": "low_rank_bilinear"', '"event": "CentralLaplace"',
                      '"aggregation": "two_servers"'), modes="plain,two_servers",
                     without=("plain", "masked", "private-masked", "distributed", "local")),
}


def ok(*arguments: str) -> str:
    """What a command prints that ends well."""
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ran(kind: str, under: str, database: Path, out: Path) -> Mapping[str, Any]:
    """The record of a run of two rounds with a part, which is shown to be in it."""
    # The part's own flags come last: a way of summing takes the place of the protection's.
    record = json.loads(ok(
        "run", "--rounds", "2", *SEED, *BARE, *UNDER[under], *PARTS[kind].asked(database), "--out",
        str(out), "--json"))
    found: Mapping[str, Any] = record
    assert all(text in json.dumps(found) for text in PARTS[kind].shown)
    return found
