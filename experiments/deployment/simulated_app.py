"""The app under Flower's simulation: a node has a number there, and finds its folder by it."""

from __future__ import annotations

from pathlib import Path

from experiments.deployment import app
from experiments.deployment.parties import node_folder
from privfedmm.federation.flower import Settings, client_app

KEY_HOLDER = "keyholder"


def answer(kind: str, body: bytes, settings: Settings) -> bytes:
    """Return the answer of the simulated node that has this number to a message."""
    return app.answer(kind, body, node_settings(
        Path(str(settings["root"])), int(settings["partition-id"]),
        int(settings["num-partitions"])))


def node_settings(root: Path, number: int, nodes: int) -> dict[str, str | int | float | bool]:
    """Return folder and role of a node; the key holder, where there is one, is the last node."""
    if number == nodes - 1 and (root / KEY_HOLDER).is_dir():
        return {"run-dir": str(root / KEY_HOLDER), "role": "keyholder"}
    return {"run-dir": str(node_folder(root, number)), "role": "clients", "experiment": True}


server = app.server
client = client_app(answer, simulated=True)
