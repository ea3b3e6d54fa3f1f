"""The gate before a SuperLink: nodes pass, whoever would submit a run does not."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from experiments.deployment.certificates import CA, make_tls
from experiments.deployment.gate import Gate
from experiments.deployment.processes import free_ports

PULL = b"/v1/fleet/pull-messages"
TOLD = gzip.compress(b"answer")


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers like a SuperLink that compresses, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, dict[str, str], bytes]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        type(self).seen.append((self.path, headers, body))
        self.send_response(418)
        self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(TOLD)))
        self.send_header("x-told", "yes")
        self.end_headers()
        self.wfile.write(TOLD)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def upstream() -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    class One(Upstream):
        seen: ClassVar[list[tuple[str, dict[str, str], bytes]]] = []

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), One) as server:
        running = threading.Thread(target=server.serve_forever, args=(0.02,))
        running.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", One.seen
        finally:
            server.shutdown()
            running.join()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    make_tls(tmp_path)
    return tmp_path / CA


def ask(
    to: str, authority: Path, path: bytes, method: str = "POST", query: bytes = b"",
    pieces: tuple[bytes, ...] = (b"asked",), headers: tuple[tuple[bytes, bytes], ...] = (),
) -> tuple[int, dict[bytes, bytes], bytes]:
    said: list[Any] = []
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(event: Any) -> None:
        said.append(event)

    scope = {"type": "http", "method": method, "raw_path": path, "path": path.decode("latin-1"),
             "query_string": query, "headers": list(headers)}

    async def once() -> None:
        gate = Gate(to, authority)
        await gate(scope, receive, send)
        await gate.close()

    asyncio.run(once())
    return said[0]["status"], dict(said[0]["headers"]), said[1]["body"]


def test_a_nodes_message_and_its_answer_pass_as_they_are(authority: Path) -> None:
    with upstream() as (to, seen):
        status, headers, body = ask(
            to, authority, PULL, pieces=(b"as", b"ked"), headers=(
                (b"x-signature", b"s"), (b"content-length", b"5"), (b"host", b"link:8443"),
                (b"transfer-encoding", b"chunked"), (b"connection", b"close")))
    assert (status, body) == (418, TOLD)
    assert headers[b"content-encoding"] == b"gzip" and headers[b"x-told"] == b"yes"
    assert headers[b"content-length"] == str(len(TOLD)).encode()
    ((path, given, asked),) = seen
    assert (path, asked) == (PULL.decode(), b"asked")
    assert given["x-signature"] == "s" and given["content-length"] == "5"
    assert given["host"].startswith("127.0.0.1")
    assert not {"transfer-encoding", "connection", "accept-encoding", "user-agent"} & given.keys()


@pytest.mark.parametrize("path", [
    b"/v1/control/start-run", b"/v1/runtime/push-object", b"/", b"/v1/fleet/", b"/v1/fleet",
    b"/v1/fleet/../control/start-run", b"/v1/fleet/%2e%2e/control/start-run",
    b"/v1/fleet/x%2f..%2f..%2fcontrol/start-run", b"/v1/fleet//control",
    b"//v1/fleet/pull-messages", b"/v1/fleet/pull-messages\n", b"/openapi.json",
    b"/v1/fleet/pull-messages@evil.example",
    b"http://evil.example/v1/fleet/pull-messages",
])
def test_nothing_else_passes(authority: Path, path: bytes) -> None:
    with upstream() as (to, seen):
        assert ask(to, authority, path)[0] == 404
    assert seen == []


def test_neither_do_other_methods_queries_and_endless_requests(authority: Path) -> None:
    with upstream() as (to, seen):
        assert ask(to, authority, PULL, method="GET")[0] == 404
        assert ask(to, authority, PULL, query=b"to=/v1/control")[0] == 404
        piece = bytes(2**23)
        assert ask(to, authority, PULL, pieces=(piece,) * 9)[0] == 413
        assert ask(to, authority, PULL, pieces=())[0] == 413
    assert seen == []


def test_a_superlink_that_is_not_there_is_to_be_tried_again(authority: Path) -> None:
    (port,) = free_ports(1)
    assert ask(f"http://127.0.0.1:{port}", authority, PULL)[0] == 503


def test_a_superlink_under_another_certificate_gets_nothing(authority: Path) -> None:
    with upstream() as (to, seen):  # it speaks no TLS at all
        assert ask(to.replace("http:", "https:"), authority, PULL)[0] == 503
    assert seen == []
