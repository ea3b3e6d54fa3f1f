"""A federation in this process: real folders and real messages, carried by a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from experiments.deployment import parties
from experiments.deployment.parties import Party
from experiments.deployment.settle_local import settle_all
from privfedmm.config import RunConfig, resolve
from privfedmm.runs.run import load_data

Tamper = Callable[[str, int, bytes], bytes | None]


@dataclass
class Loop:
    """A transport: every message meets a party read anew from its folder, as in a deployment.

    before, after: see a message on its way to a node, and an answer on its way back; None loses it.
    """

    folders: list[Path]
    before: Tamper = lambda kind, node, body: body
    after: Tamper = lambda kind, node, body: body
    experiment: bool = True
    log: list[tuple[str, int]] = field(default_factory=list)

    def nodes(self) -> list[int]:
        return list(range(len(self.folders)))

    def exchange(self, kind: str, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        out = {}
        for node, body in bodies.items():
            self.log.append((kind, node))
            sent = self.before(kind, node, body)
            if sent is None:
                continue
            party = Party.read(self.folders[node])
            holder = self.folders[node].name == "keyholder"
            one = party.holder() if holder else party.node(self.experiment)
            got = self.after(kind, node, one.handle(kind, sent))
            if got is not None:
                out[node] = got
        return out


@pytest.fixture
def loop_of() -> Callable[[list[Path]], Loop]:
    """A loop over parties' folders."""
    return Loop


Settle = Callable[[dict[str, Any]], tuple[RunConfig, Path, Loop]]
NODES = 3


def settle(
    flags: dict[str, Any], out: Path, nodes: int = NODES
) -> tuple[RunConfig, Path, Loop]:
    """A new deployment in folder `out`."""
    config = resolve(None, flags)
    out.mkdir()
    root = out / "deploy"
    config = settle_all(config, load_data(config), root, nodes)
    found = [parties.node_folder(root, shard) for shard in range(nodes)]
    holder = [root / "keyholder"] if parties.has_holder(config) else []
    return config, out, Loop(found + holder)


@pytest.fixture
def settled(tmp_path: Path) -> Settle:
    """Flags -> config, run folder, and a loop over the parties' folders, key holder last."""
    return lambda flags: settle(flags, tmp_path / "deployed")
