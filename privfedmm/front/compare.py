"""Runs beside one another, with the paired differences of what users were ranked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from privfedmm.base.errors import UserError
from privfedmm.evaluation import gains, paired_interval
from privfedmm.front.results import HEAD
from privfedmm.front.run import Run
from privfedmm.front.training import open_run
from privfedmm.runs.finished import RECORD, RecordError, read_ranks, read_record
from privfedmm.runs.record import same_data, same_protocol


def compare(runs: Iterable[Run | str | Path]) -> pd.DataFrame:
    """Return one row a run: method, seed, claim, test metrics, bytes, and the difference in test
    NDCG@50 to the first with its 95% interval (percentile bootstrap over users).

    runs: those that `train` returned, or their folders; a folder whose record is damaged is left
    out, with a warning. Raises UserError for none, and for runs on different data or under
    different protocols, whose figures do not compare.
    """
    found = [run if isinstance(run, Run) else open_run(run) for run in runs if _whole(run)]
    if not found:
        raise UserError("compare: give at least one run")
    first = found[0]
    rows = []
    for run in found:
        record, privacy = run.record, run.record["privacy"]
        differs = {
            "dataset (sha256)": same_data(record) != same_data(first.record),
            "protocol (split, ranking, candidates, ties)":
                same_protocol(record) != same_protocol(first.record)}
        if any(differs.values()):
            what = next(name for name, there in differs.items() if there)
            raise UserError(f"compare: the runs differ in {what}, so their figures do not "
                            "compare; compare runs on the same data and ranking")
        mean, low, high = paired_interval(
            gains(run.ranks["test"], 50)[None], gains(first.ranks["test"], 50)[None], 0)
        rows.append({
            "label": record["label"] or record["method"], "method": record["method"],
            "seed": record["seed"], "epsilon": privacy["epsilon"], "trust": privacy["trust"],
            "aggregation": privacy["aggregation"],
            **{key: record["metrics"]["test"][key] for key in HEAD},
            "bytes_up": record["costs"]["bytes_up_per_client_round"],
            "difference": mean, "difference_low": low, "difference_high": high})
    return pd.DataFrame(rows)


def _whole(run: Run | str | Path) -> bool:
    """Whether a run can be compared; of a damaged record a warning says that it is left out."""
    if isinstance(run, Run) or not (Path(run) / RECORD).exists():
        return True  # `open_run` says what is wrong with a folder without a record
    try:
        read_record(Path(run))
        read_ranks(Path(run))
    except RecordError as error:
        warnings.warn(f"compare: left out: {error}", stacklevel=3)
        return False
    return True
