"""The front door for Python: load, train, open, compare, sweep, and what they give."""

from privfedmm.front.compare import compare
from privfedmm.front.results import Audit
from privfedmm.front.run import Run
from privfedmm.front.sweep import sweep
from privfedmm.front.training import load, open_run, train

__all__ = ["Audit", "Run", "compare", "load", "open_run", "sweep", "train"]
