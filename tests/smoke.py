"""The main commands once, with the Python that runs this: `python -m tests.smoke`.

It takes seconds a command and asks only whether they end well. Continuous integration plays it with
every supported Python that is at hand (`make smoke PYTHON=python3.12`); the suite itself, which
compares figures, is run with one.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = ("--dataset", "planted:60", "--rounds", "2")
COMMANDS: Sequence[Sequence[str]] = (
    ("run", *SMALL, "--out", "plain"),
    ("run", *SMALL, "--dp-epsilon", "2", "--out", "private"),
    ("run", *SMALL, "--aggregation", "masked", "--out", "masked"),
    ("audit", "private", "--quick"),
    ("recommend", "plain", "--user", "u1", "--top", "3"),
    ("report", "plain", "private", "masked", "--out", "report.md"),
)
DEPLOY = ("deploy", "local", *SMALL, "--nodes", "2", "--out", "deployed")  # needs extra deploy


def main() -> int:
    """Play the commands one after another. Return 1 after the first that fails, with its words."""
    print(f"Python {platform.python_version()}", flush=True)
    commands = list(COMMANDS)
    if importlib.util.find_spec("flwr") is None:
        print("no flwr here: deploy is left out")
    else:
        commands.append(DEPLOY)
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "PRIVFEDMM_STATE": folder}
        for command in commands:
            done = subprocess.run([sys.executable, "-m", "experiments", *command], cwd=folder,
                                  env=variables, text=True, capture_output=True, check=False)
            words = "ok" if done.returncode == 0 else f"exit {done.returncode}\n{done.stderr}"
            print(f"  privfedmm {' '.join(command)}: {words}", flush=True)
            if done.returncode != 0:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
