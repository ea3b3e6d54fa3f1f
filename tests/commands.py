"""The command line inside the test process."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from experiments.cli import main

BARE = ("--set", "baselines=[]")


def cli(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The entry point itself, in this process: a new one would spend its time on imports."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, sys.argv = sys.argv, ["privfedmm", *arguments]
    try:
        with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
              contextlib.chdir(cwd or Path.cwd())):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = argv
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
