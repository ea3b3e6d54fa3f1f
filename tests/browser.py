"""A page in headless Chromium, driven over a pipe by the DevTools protocol; nothing to install but
the browser."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 120  # seconds for one answer, on a machine with much else to do


def find() -> str | None:
    """The path of a Chromium, if this machine has one; PRIVFEDMM_CHROMIUM names another."""
    given = os.environ.get("PRIVFEDMM_CHROMIUM")
    return given or next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab. `log` holds what the page complained of, `asked` every address that it asked for."""

    def __init__(self, program: str, folder: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self._out, self._in, self._rest = ours_out, ours_in, b""

        def plumb() -> None:  # the protocol is spoken over descriptors 3 and 4
            source, sink = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(source, 3)
            os.dup2(sink, 4)

        self._process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--remote-debugging-pipe",
             f"--user-data-dir={folder}", "about:blank"],
            close_fds=False, preexec_fn=plumb,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._session = 0, ""
        self.log: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], _PATIENCE)[0]:
                raise RuntimeError("the browser does not answer")
            found = os.read(self._in, 2**20)
            if not found:
                raise RuntimeError("the browser has ended")
            self._rest += found
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, found: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = found["exceptionDetails"]
            self.log.append(str(details.get("exception", details).get("description", details)))
        elif event == "Log.entryAdded":
            self.log.append(found["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning"):
            self.log.append(str([a.get("value", a.get("description")) for a in found["args"]]))
        elif event == "Network.requestWillBeSent":
            self.asked.append(found["request"]["url"])

    def open(self, file: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Load a file in a window of a width, under a colour scheme, and wait until it is drawn."""
        self.log, self.asked = [], []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=file.absolute().as_uri())
        self.js("new Promise(done => document.readyState === 'complete' ? done() : "
                "addEventListener('load', () => done()))")
        self.rest()

    def rest(self) -> None:
        """Wait until the page has been laid out and drawn twice."""
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame("
                "() => setTimeout(done, 50))))")

    def js(self, text: str) -> Any:
        """The value of an expression on the page, awaited."""
        found = self.call("Runtime.evaluate", expression=text, awaitPromise=True,
                          returnByValue=True, userGesture=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{text}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def key(self, name: str, code: int = 0) -> None:
        """Press a key of the real keyboard."""
        text = {"Enter": "\r", " ": " "}.get(name)
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def shot(self, out: Path, whole: bool = True) -> None:
        """A picture of the window, or of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        out.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, out: Path) -> None:
        """The page as it is printed."""
        found = self.call("Page.printToPDF", printBackground=False)
        out.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A browser with a profile of its own, ended and swept away afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = Browser(program, Path(folder))
        try:
            yield found
        finally:
            found.close()
