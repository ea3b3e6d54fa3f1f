"""A finished run in Python's hands: record, metrics, curve, statement, recommendations, audit."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.evaluation import Ranks
from privfedmm.front.results import Audit, curve_frame, metrics_frame
from privfedmm.runs.record import shown


class Run:
    """This is a finished run, from `privfedmm.train` or, of a run folder, from
    `privfedmm.open_run`.

    record: the record as in record.json. config: every setting, resolved.
    """

    def __init__(
        self, config: RunConfig, record: Mapping[str, Any], rows: list[dict[str, Any]],
        ledger: list[dict[str, Any]], ranks: Mapping[str, Ranks],
        restore: Callable[[], tuple[Any, Any, Any]], data: Callable[[], Dataset],
        folder: Path | None = None,
    ) -> None:
        """rows: of rounds.jsonl. ledger: its entries. ranks: target -> rank of each user's held-out
        item, or `privfedmm.evaluation.Places` where a user has several. restore: gives
        algorithm, state and clients of the reported model."""
        self.config = config
        # The same values whether they come from memory or from a file.
        self.record: dict[str, Any] = json.loads(json.dumps(record))
        self.ranks = dict(ranks)
        self.folder = folder
        self._rows, self._ledger = rows, ledger
        self._restore, self._load = restore, data

    @property
    def data(self) -> Dataset:
        """Return the data that the run was trained on."""
        return self._load()

    @property
    def metrics(self) -> pd.DataFrame:
        """Return the metrics by model (the run's and its baselines') and target."""
        return metrics_frame(self.record)

    @property
    def curve(self) -> pd.DataFrame:
        """Return one row a round; it never holds a test metric."""
        return curve_frame(self._rows)

    @property
    def statement(self) -> dict[str, Any]:
        """Return the promise of the run: epsilon with unit, adjacency, trust and whom it holds
        against."""
        return dict(self.record["privacy"])

    @property
    def ledger(self) -> pd.DataFrame:
        """Return every release, in order; what a bound ledger notes beside them is left out."""
        return pd.DataFrame([row for row in self._ledger if "kind" not in row])

    @property
    def links(self) -> list[dict[str, Any]]:
        """Return the rows of the ledger as they are kept, with the notes of a bound one."""
        return list(self._ledger)

    @property
    def epsilon(self) -> float | None:
        """Return the epsilon that the ledger has spent; None where nothing is claimed."""
        return self.record["privacy"]["epsilon_spent"]

    def recommend(self, user: str, top: int = 10, explain: bool = False) -> pd.DataFrame:
        """Return the `top` items ranked first for a user, without training items: rank, item_id,
        title, score; with `explain` the parts that add up to each score.

        Raises UserError for an unknown user.
        """
        from privfedmm.runs.recommend import ranked

        found = ranked(self.data, *self._restore(), str(user), top, explain)
        rows = [{**{k: v for k, v in item.items() if k not in ("parts", "reason", "missing")},
                 **item.get("parts", {})} for item in found["items"]]
        return pd.DataFrame(rows).set_index("rank")

    def audit(
        self, quick: bool = False, canaries: int | None = None, seed: int | None = None,
        parts: tuple[str, ...] = ("budget", "empirical", "attacks"),
        tell: Callable[[str], None] = lambda text: None,
    ) -> Audit:
        """Check the budget, play canaries against the claim, attack every mode; write nothing.

        seed: the seed of coins and directions, None for one that cannot be repeated. tell: a
        function that is told of the progress. Raises UserError for options out of range.
        """
        from privfedmm.audit.audit_run import Options, audit_subject
        from privfedmm.audit.budget import Subject

        subject = Subject(str(self.folder or self.record["label"] or self.record["method"]),
                          self.record, self.config, self._ledger, self.folder)
        options = Options(quick=quick, canaries=canaries, seed=seed, parts=parts)
        return Audit(audit_subject(subject, options, tell, data=self.data),
                     self.config.aggregation)

    def save(self, out: str | Path) -> Path:
        """Copy the run folder to `out`, which must be absent, and return it.

        Raises UserError for a run that was trained without `out`: its checkpoints were never
        written.
        """
        if self.folder is None:
            raise UserError("save: this run was kept in memory; train it with out=FOLDER")
        target = Path(out)
        if target.exists():
            raise UserError(f"save: {target} exists; name another folder")
        shutil.copytree(self.folder, target)
        return target

    def _line(self) -> str:
        record, privacy = self.record, self.record["privacy"]
        claim = "epsilon none" if privacy["epsilon"] is None else (
            f"epsilon {privacy['epsilon']:.4g} ({privacy['unit']}, {privacy['adjacency']}, trust "
            f"{privacy['trust']})")
        test = record["metrics"]["test"]
        return (f"{record['method']} on {record['dataset']['name']}, seed {record['seed']}: test "
                f"ndcg@50 {test['ndcg@50']:.4f}, {claim}")

    def __repr__(self) -> str:
        return f"<privfedmm.Run {self._line()}>"

    def _repr_html_(self) -> str:
        test = self.metrics.xs("test", level="target")[list(shown(self.record))]
        return f"<p>{html.escape(self._line())}</p>{test.to_html(float_format='%.4f')}"

    def __rich__(self) -> Any:
        from rich.table import Table

        table = Table(title=self._line())
        head = shown(self.record)
        for name in ("model", *head):
            table.add_column(name)
        for model, row in self.metrics.xs("test", level="target").iterrows():
            table.add_row(str(model), *(f"{row[k]:.4f}" for k in head))
        return table
