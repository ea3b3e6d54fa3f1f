"""The choice of settings by validation metrics: what is searched, the search, and its price."""

from privfedmm.tuning.parameters import Parameter
from privfedmm.tuning.search import METRIC, PLAN, TRIALS, Search, resume, start

__all__ = ["METRIC", "PLAN", "TRIALS", "Parameter", "Search", "resume", "start"]
