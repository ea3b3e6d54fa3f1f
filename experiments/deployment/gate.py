"""What stands between the network and a SuperLink: it lets the messages of nodes through alone.

A SuperLink takes runs from whoever reaches its port, on the same port as its nodes and without
asking who it is; and a run is code that every node executes. So the SuperLink listens on loopback,
where the operator is, and nodes meet this. A request passes once it is whole: what is unfinished is
held here, within `GateLimits`, and never reaches the SuperLink.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx

from experiments.deployment.gate_limits import Counted, GateLimits

TO, AUTHORITY = "PRIVFEDMM_GATE_TO", "PRIVFEDMM_GATE_CA"
# As it came, before anything is decoded: no dots, no escapes, nothing below.
_NODES = re.compile(rb"/v1/fleet/[a-z-]+")
_SECONDS = 60.0  # that the SuperLink may take for its answer
# Of one connection, not of the message; and the length, which is set anew.
_HOP = frozenset({b"host", b"connection", b"keep-alive", b"te", b"trailer", b"trailers",
                  b"transfer-encoding", b"upgrade", b"content-length", b"expect",
                  b"proxy-authorization", b"proxy-connection", b"date", b"server"})

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Gate:
    """This ASGI application passes the messages of nodes on to a SuperLink, and nothing else.

    to: the address of the SuperLink, as https://127.0.0.1:port. authority: the PEM file of the
    authority that signed its certificate. limits: what of requests is held, and for how long.
    """

    def __init__(self, to: str, authority: Path, limits: GateLimits | None = None) -> None:
        self._to, self._limits = to, limits or GateLimits()
        self._held = Counted(self._limits.peer_bytes, self._limits.all_bytes)
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=str(authority)), timeout=_SECONDS,
            trust_env=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: a node's with the SuperLink's answer, all others with 404."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"only requests pass here, not {scope['type']}")
        path: bytes = scope["raw_path"]
        if scope["method"] != "POST" or scope["query_string"] or not _NODES.fullmatch(path):
            await _answer(send, 404, [], b"")
            return
        peer = (scope.get("client") or ("",))[0]
        taken: list[int] = []
        try:
            body = await self._body(scope["headers"], receive, peer, taken)
            if isinstance(body, int):
                await _answer(send, body, [(b"connection", b"close")], b"")
                return
            await self._pass(path, scope["headers"], body, send)
        finally:
            self._held.give(peer, sum(taken))

    async def _pass(self, path: bytes, headers: Headers, body: bytes, send: Send) -> None:
        asked = httpx.Request("POST", self._to + path.decode("ascii"),
                              headers=_kept(headers), content=body)
        try:
            found = await self._client.send(asked, stream=True)
            try:
                told = b"".join([piece async for piece in found.aiter_raw()])
            finally:
                await found.aclose()
        except httpx.HTTPError:
            # To a SuperNode: try again.
            await _answer(send, 503, [], b"")
            return
        await _answer(send, found.status_code, _kept(found.headers.raw), told)

    async def _body(
        self, headers: Headers, receive: Receive, peer: str, taken: list[int]
    ) -> bytes | int:
        """The body of a request, or the status of its refusal. taken: gets the bytes that it holds.
        """
        length = next((v for n, v in headers if n.lower() == b"content-length"), b"0")
        if not length.isdigit() or int(length[:20]) > self._limits.request:
            return 413
        parts = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    event = await receive()
                    if event["type"] != "http.request":
                        return 413
                    piece = event.get("body", b"")
                    if len(parts) + len(piece) > self._limits.request:
                        return 413
                    if not self._held.take(peer, len(piece)):
                        # To a SuperNode: try again.
                        return 503
                    taken.append(len(piece))
                    parts += piece
                    if not event.get("more_body"):
                        return bytes(parts)
        except TimeoutError:
            return 408

    @property
    def held(self) -> int:
        """Return the bytes of bodies that are held now."""
        return self._held.sum

    async def close(self) -> None:
        """Close the connections to the SuperLink."""
        await self._client.aclose()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})


def from_environment(limits: GateLimits) -> Gate:
    """Return the gate that the variables `TO` and `AUTHORITY` describe."""
    return Gate(os.environ[TO], Path(os.environ[AUTHORITY]), limits)


def _kept(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in _HOP]


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
