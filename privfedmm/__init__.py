"""Privacy-hardened federated multimodal recommendation: the front door for Python.

>>> import privfedmm as pf
>>> data = pf.load("planted:60")
>>> run = pf.train(data, method="popularity", dp_epsilon=2.0, noise="simulation", baselines=[])
>>> run.statement["unit"], run.statement["trust"]
('user', 'central')
>>> len(run.recommend(user=str(data.user_ids[0]), top=3))
3
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from privfedmm.base.errors import UserError
    from privfedmm.data.types import Dataset
    from privfedmm.front.compare import compare
    from privfedmm.front.results import Audit
    from privfedmm.front.run import Run
    from privfedmm.front.sweep import sweep
    from privfedmm.front.training import load, open_run, train

# Imported when they are first used: `import privfedmm` alone costs nothing.
_PLACES = {
    "Audit": "privfedmm.front.results",
    "Dataset": "privfedmm.data.types",
    "Run": "privfedmm.front.run",
    "UserError": "privfedmm.base.errors",
    "compare": "privfedmm.front.compare",
    "load": "privfedmm.front.training",
    "open_run": "privfedmm.front.training",
    "sweep": "privfedmm.front.sweep",
    "train": "privfedmm.front.training",
}

__all__ = ["Audit", "Dataset", "Run", "UserError", "compare", "load", "open_run", "sweep", "train"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'privfedmm' has no attribute {name!r}")
