"""Flower carries our messages: the only file that knows it. What they mean is not known here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from numpy.lib import format as npy

from privacy import ProtocolError
from privfedmm.federation.transport import KINDS, Transport

_POLL = 0.5  # seconds; Flower's own loop waits 3
_BODY, _NUMPY = "body", "numpy.ndarray"
Settings = Mapping[str, str | int | float | bool]
Serve = Callable[[Transport, Settings], None]
Answer = Callable[[str, bytes, Settings], bytes]


def _record(body: bytes) -> RecordDict:
    # An array, because Flower cuts arrays in pieces and puts no limit on their sum.
    return RecordDict({_BODY: ArrayRecord([np.frombuffer(body, dtype=np.uint8)])})


def body_of(content: RecordDict) -> bytes:
    """Return the body that a message carries, from one array of bytes in numpy's own form.

    The array is not loaded, and its header is not parsed: there is one header of so many bytes.
    Raises ProtocolError for anything else.
    """
    record = content.get(_BODY)
    arrays = list(record.values()) if isinstance(record, ArrayRecord) else []
    if len(content) != 1 or len(arrays) != 1 or arrays[0].stype != _NUMPY:
        raise ProtocolError("a message must hold one array of bytes, and nothing else")
    data = arrays[0].data
    start = 10 + int.from_bytes(data[8:10], "little")
    body, header = data[start:], BytesIO()
    npy.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (len(body),)})
    if data[:start] != header.getvalue():
        raise ProtocolError(f"an array of {len(data)} bytes is not numpy's of {len(body)} bytes")
    return body


class FlowerTransport:
    """Exchanges messages over a SuperLink.

    nodes: how many nodes are waited for. wait: the seconds that they have to come, and that an
    exchange may take.
    """

    def __init__(self, grid: Grid, nodes: int, wait: float) -> None:
        self._grid, self._nodes, self._wait = grid, nodes, wait

    def nodes(self) -> list[int]:
        """Return the connected nodes, once they are all there or the wait is over."""
        until = time.monotonic() + self._wait
        found = sorted(self._grid.get_node_ids())
        while len(found) < self._nodes and time.monotonic() < until:
            time.sleep(_POLL)
            found = sorted(self._grid.get_node_ids())
        return found

    def exchange(self, kind: str, bodies: Mapping[int, bytes]) -> dict[int, bytes]:
        """Send each node its body, and return the answers that came in time and without error.

        An answer that is no array of bytes is an empty one; one to a message that another node was
        sent is none.
        """
        sent = [Message(_record(body), node, f"query.{kind}", ttl=self._wait)
                for node, body in bodies.items()]
        # Where Flower refuses all of them there are no numbers, and so no answers.
        pending = {number: message.metadata.dst_node_id for number, message in zip(
            self._grid.push_messages(sent), sent, strict=False) if number}
        answers: dict[int, bytes] = {}
        until = time.monotonic() + self._wait
        while pending and time.monotonic() < until:
            for reply in self._grid.pull_messages(list(pending)):
                node = pending.get(reply.metadata.reply_to_message_id)
                if node is None or node != reply.metadata.src_node_id:
                    continue
                del pending[reply.metadata.reply_to_message_id]
                if reply.has_content():
                    answers[node] = _told(reply.content)
            if pending:
                time.sleep(_POLL)
        return answers


def _told(content: RecordDict) -> bytes:
    try:
        return body_of(content)
    except ProtocolError:
        return b""  # which is no answer of ours, and is refused as such


def server_app(serve: Serve) -> ServerApp:
    """Return a ServerApp that gives `serve` the transport and the settings of the run."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        settings = dict(context.run_config)
        transport = FlowerTransport(grid, int(settings["nodes"]), float(settings["wait"]))
        serve(transport, settings)

    return app


def client_app(answer: Answer, simulated: bool = False) -> ClientApp:
    """Return a ClientApp that gives `answer` every message, and the settings of its SuperNode.

    simulated: whether `answer` gets the settings of the run as well, because a node of Flower's
    simulation has no settings but its number. A real node must not: the server writes them.
    """
    app = ClientApp()
    for kind in KINDS:
        app.query(kind)(_handler(kind, answer, simulated))
    return app


def _handler(
    kind: str, answer: Answer, simulated: bool
) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        run = context.run_config if simulated else {}
        body = answer(kind, body_of(message.content), {**run, **context.node_config})
        return Message(_record(body), reply_to=message)

    return handle


def write_app(folder: Path, module: str, settings: Settings) -> None:
    """Write a Flower app whose components are `server` and `client` of an installed module."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "privfedmm_app.py").write_text(
        f"from {module} import client, server\n\n__all__ = ['client', 'server']\n",
        encoding="utf-8")
    lines = [f"{name} = {_toml(value)}" for name, value in settings.items()]
    (folder / "pyproject.toml").write_text("\n".join([
        "[project]", 'name = "privfedmm-app"', 'version = "0.1.0"', 'license = "Apache-2.0"',
        "dependencies = []", "[tool.flwr.app]", 'publisher = "privfedmm"',
        "[tool.flwr.app.components]", 'serverapp = "privfedmm_app:server"',
        'clientapp = "privfedmm_app:client"', "[tool.flwr.app.config]", *lines, "",
    ]), encoding="utf-8")


def _toml(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def secaggplus_ms(dims: int, neighbours: int, threshold: int, repeats: int) -> dict[str, float]:
    """Return the CPU milliseconds that a client of Flower's own SecAgg+ spends on its primitives.

    They are for comparison in benchmarks; nothing else here uses them. Raises ImportError where a
    version of Flower keeps them elsewhere.
    """
    from flwr.common.secure_aggregation.crypto.shamir import create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        parameters_addition,
        parameters_mod,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.quantization import quantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes

    own, *others = [generate_key_pairs() for _ in range(neighbours + 1)]
    vector = [np.linspace(-1, 1, dims)]
    seeds = [generate_shared_key(own[0], other[1]) for other in others]

    def mask() -> None:
        total = quantize(vector, 8.0, 1 << 22)
        total = parameters_addition(total, pseudo_rand_gen(os.urandom(32), 1 << 32, [(dims,)]))
        for place, seed in enumerate(seeds):
            drawn = pseudo_rand_gen(seed, 1 << 32, [(dims,)])
            combine = parameters_addition if place % 2 else parameters_subtraction
            total = combine(total, drawn)
        parameters_mod(total, 1 << 32)

    def share() -> None:
        for secret in (os.urandom(32), private_key_to_bytes(own[0])):
            create_shares(secret, threshold, neighbours)

    def agree() -> None:
        for other in others:
            generate_shared_key(own[0], other[1])

    return {name: _cpu_ms(work, repeats)
            for name, work in (("agree", agree), ("share", share), ("quantise_and_mask", mask))}


def _cpu_ms(work: Callable[[], None], repeats: int) -> float:
    work()
    started = time.process_time()
    for _ in range(repeats):
        work()
    return 1000 * (time.process_time() - started) / repeats
