"""The process of the gate: uvicorn, with connections counted and the time of each request bounded.

uvicorn alone waits for ever for a request that was begun, and lets one peer open all connections.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from experiments.deployment.gate import from_environment
from experiments.deployment.gate_limits import Counted, GateLimits

_OTHER_FILES = 128  # of the process itself, and of its connections to the SuperLink


def bounded(limits: GateLimits) -> type[H11Protocol]:
    """Return the protocol of connections that keep to the limits together."""
    doors = Counted(limits.peer_connections, limits.all_connections)

    class Bounded(H11Protocol):
        """A connection that is cut where it takes too long, or where there are too many."""

        _timer: asyncio.TimerHandle | None = None
        _inside = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._inside = doors.take(self._peer, 1)
            if self._inside:
                self._wait()
            else:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            if self._inside:
                self._inside = False
                doors.give(self._peer, 1)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._inside:
                return
            super().data_received(data)
            # The request is whole: what takes time now is the answer, which has its own limit.
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
                self._stop()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._inside and not self.transport.is_closing():
                self._wait()

        @property
        def _peer(self) -> str:
            return self.client[0] if self.client else ""

        def _wait(self) -> None:
            self._stop()
            self._timer = self.loop.call_later(limits.seconds, self.transport.abort)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Bounded


def config_of(
    app: Any, host: str, port: int, certificate: str | None, key: str | None, limits: GateLimits
) -> uvicorn.Config:
    """Return the settings of uvicorn for a gate at a host and port. certificate, key: of TLS."""
    return uvicorn.Config(
        app, host=host, port=port, ssl_certfile=certificate, ssl_keyfile=key, lifespan="on",
        http=bounded(limits), ws="none", h11_max_incomplete_event_size=limits.headers,
        access_log=False, server_header=False, proxy_headers=False)


def main() -> None:
    """Serve until the process is ended."""
    read = argparse.ArgumentParser(description="the gate to a SuperLink")
    read.add_argument("--host", required=True)
    read.add_argument("--port", type=int, required=True)
    read.add_argument("--ssl-certfile", required=True)
    read.add_argument("--ssl-keyfile", required=True)
    told, limits = read.parse_args(), GateLimits()
    # Connections that are still at their TLS handshake are files too, and counted nowhere else.
    most = limits.all_connections + _OTHER_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    uvicorn.Server(config_of(
        from_environment(limits), told.host, told.port, told.ssl_certfile, told.ssl_keyfile,
        limits)).run()


if __name__ == "__main__":
    main()
