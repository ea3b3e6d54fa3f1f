"""Strangers at the gate: unfinished requests hold little, for a while, and honest nodes pass."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from experiments.deployment.certificates import CA, make_tls
from experiments.deployment.gate import Gate
from experiments.deployment.gate_limits import Counted, GateLimits
from experiments.deployment.gate_server import config_of
from experiments.deployment.processes import free_ports
from tests.experiments.test_deployment_gate import PULL, upstream

Act = Callable[[int], Awaitable[None]]
SMALL = GateLimits(headers=2048, request=2**16, peer_bytes=2**17, all_bytes=2**18,
                   peer_connections=6, all_connections=8, seconds=0.4)


async def serving(to: str, authority: Path, limits: GateLimits, act: Act) -> None:
    (port,) = free_ports(1)
    server = uvicorn.Server(config_of(
        Gate(to, authority, limits), "127.0.0.1", port, None, None, limits))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await act(port)
    finally:
        server.should_exit = True
        await running


async def begun(
    port: int, text: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has sent something, and no end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(text)
        await writer.drain()
    return reader, writer


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What comes until the gate closes the connection."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(length: int) -> bytes:
    return b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (PULL, length)


async def honest(port: int) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{port}{PULL.decode()}", content=b"asked")
        assert answer.status_code == 418


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    make_tls(tmp_path)
    return tmp_path / CA


@pytest.mark.parametrize("text", [
    b"", b"POST ", head(2**15) + b"x", b"POST %s HTTP/1.1\r\nhost: x\r\n" % PULL,
], ids=["silent", "verb", "body", "headers"])
def test_a_request_that_never_ends_is_cut_and_frees_its_place(authority: Path, text: bytes) -> None:
    async def act(port: int) -> None:
        open_ = [await begun(port, text) for _ in range(SMALL.peer_connections)]
        # The next is one too many, until those are cut.
        assert await cut(*await begun(port, head(0))) == b""
        for connection in open_:
            await cut(*connection)
        await honest(port)

    with upstream() as (to, seen):
        asyncio.run(serving(to, authority, SMALL, act))
        # Only what was whole has reached the SuperLink.
        assert [body for _, _, body in seen] == [b"asked"]


def test_headers_and_bodies_beyond_the_limits_are_refused(authority: Path) -> None:
    async def act(port: int) -> None:
        long = b"POST %s HTTP/1.1\r\nhost: x\r\nx-long: %s" % (PULL, b"a" * 4 * SMALL.headers)
        assert b" 400 " in await cut(*await begun(port, long))
        assert b" 413 " in await cut(*await begun(port, head(SMALL.request + 1)))
        await honest(port)

    with upstream() as (to, seen):
        asyncio.run(serving(to, authority, SMALL, act))
        assert len(seen) == 1


def test_unfinished_requests_hold_no_more_than_a_peer_may(authority: Path) -> None:
    """Eight requests of 60 MB without their ends once took the gate from 42 to 527 MB."""
    limits, said = GateLimits(peer_bytes=12 * 2**20), []

    def unfinished(gate: Gate, megabytes: int) -> Awaitable[None]:
        left = [bytes(2**20)] * megabytes

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            if not left:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": left.pop(), "more_body": True}

        async def send(event: Any) -> None:
            said.append(event.get("status"))

        return gate({"type": "http", "method": "POST", "raw_path": PULL, "query_string": b"",
                     "headers": [], "client": ("203.0.113.9", 1)}, receive, send)

    async def act() -> None:
        gate = Gate("http://127.0.0.1:9", authority, limits)
        tasks = [asyncio.ensure_future(unfinished(gate, size)) for size in [60] * 8 + [7] * 8]
        for _ in range(200):
            await asyncio.sleep(0)
        assert 503 in said
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.held == 0
        await gate.close()

    tracemalloc.start()
    asyncio.run(act())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * limits.peer_bytes


def test_what_is_taken_is_counted_for_each_and_for_all() -> None:
    held = Counted(3, 5)
    assert held.take("a", 3) and not held.take("a", 1) and held.take("b", 2)
    assert not held.take("c", 1)
    held.give("a", 3)
    assert held.take("c", 3) and not held.take("a", 1)
