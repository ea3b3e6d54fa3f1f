"""The processes of a deployment: started in groups of their own, and all ended again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from privfedmm.base.interrupts import begun

_GRACE = 8.0  # seconds between the request to end and the end
_PROC = Path("/proc")


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def program(name: str) -> str:
    """Return the path of a console script that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


@dataclass
class Processes:
    """This context manager ends every process that it started, whatever happened.

    mark: a name and value that the environment of every process carries, its children's too, by
    which a child that left its parent's group is found. A child that writes its title over its
    environment is found by its session. logs: the folder that holds one file a process.
    """

    logs: Path
    environment: Mapping[str, str]
    mark: tuple[str, str]
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _before: list[object] = field(default_factory=list)
    _sessions: set[int] = field(default_factory=set)

    def __enter__(self) -> Processes:
        begun()
        self.logs.mkdir(parents=True, exist_ok=True)
        if _main_thread():
            # Asked to end, this process must still end the others.
            self._before.append(signal.signal(signal.SIGTERM, _exit))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not cut the clearing up short.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if _main_thread() else None
        try:
            self._end_all()
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
            if self._before:
                signal.signal(signal.SIGTERM, self._before.pop())  # type: ignore[arg-type]

    def start(self, name: str, command: Sequence[str]) -> int:
        """Start a process under a name and return its id."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=self._environment(), start_new_session=True)
        return self._running[name].pid

    def call(self, name: str, command: Sequence[str], seconds: float) -> str:
        """Run a command to its end and return what it printed. Raises RuntimeError where it
        fails."""
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            env=self._environment(), timeout=seconds)
        with (self.logs / f"{name}.log").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        if done.returncode:
            last = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
            raise RuntimeError(f"{name} failed: {' '.join(last)}")
        return done.stdout

    def ended(self) -> dict[str, int]:
        """Return the processes that are no longer there, with their exit codes."""
        return {n: p.returncode for n, p in self._running.items() if p.poll() is not None}

    def survivors(self) -> list[int]:
        """Return the ids of living processes that carry the mark, and of those in their
        sessions."""
        wanted = "=".join(self.mark).encode()
        marked, sessions = set(), {}
        for entry in _PROC.iterdir() if _PROC.is_dir() else ():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            try:
                carries = wanted in (entry / "environ").read_bytes().split(b"\0")
                state, _, _, session = (
                    (entry / "stat").read_text().rpartition(")")[2].split()[:4])
            except OSError:  # it ended while we looked, or is another user's
                continue
            if state == "Z":
                continue
            sessions[int(entry.name)] = int(session)
            if carries:
                marked.add(int(entry.name))
        # A session's number is given to nobody else while one of its processes lives.
        own = os.getsid(0)
        self._sessions &= set(sessions.values())
        self._sessions |= {sessions[pid] for pid in marked} - {own}
        return sorted(marked | {p for p, s in sessions.items() if s in self._sessions})

    def commands(self) -> dict[int, str]:
        """Return a map from id to command line of every living process that carries the mark."""
        found = {}
        for pid in self.survivors():
            try:
                line = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue
            found[pid] = line.decode(errors="replace")
        return found

    def _environment(self) -> dict[str, str]:
        # Flower starts its own parts by name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, **self.environment, self.mark[0]: self.mark[1]}

    def _end_all(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            groups = {p.pid for p in self._running.values() if p.poll() is None}
            for group in groups:
                _signal_group(group, number)
            for pid in self.survivors():
                _signal(pid, number)
            until = time.monotonic() + _GRACE
            while time.monotonic() < until:
                gone = all(p.poll() is not None for p in self._running.values())
                if gone and not self.survivors():
                    return
                time.sleep(0.2)
        left = self.survivors()
        if left:
            raise RuntimeError(f"processes {left} of the deployment could not be ended")


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
