"""Runs beside one another, with the paired differences of what users were ranked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from privfedmm.base.errors import UserError
from privfedmm.evaluation import SHOWN, cut_of, names_of, paired_interval
from privfedmm.front.run import Run
from privfedmm.front.training import open_run
from privfedmm.runs.finished import RECORD, RecordError, read_ranks, read_record
from privfedmm.runs.record import same_data, same_protocol


def compare(
    runs: Iterable[Run | str | Path], metrics: Iterable[str] = SHOWN, difference: str = "ndcg@50"
) -> pd.DataFrame:
    """Return one row a run: method, seed, claim, test metrics, bytes, and the difference to the
    first in one metric with its 95% interval (percentile bootstrap over users).

    runs: those that `train` returned, or their folders; a folder whose record is damaged is left
    out, with a warning. metrics: names as in recall@20, of any length: they are computed from the
    ranks, whatever the runs recorded. difference: the name of the metric of the difference. Raises
    UserError for none, for a name that is not known, and for runs on different data or under
    different protocols, whose figures do not compare.
    """
    try:
        cuts, against = [cut_of(name) for name in names_of(metrics)], cut_of(difference)
    except ValueError as error:
        raise UserError(f"compare: {error}") from error
    found = [run if isinstance(run, Run) else open_run(run) for run in runs if _whole(run)]
    if not found:
        raise UserError("compare: give at least one run")
    first = found[0]
    rows = []
    for run in found:
        record, privacy = run.record, run.record["privacy"]
        differs = {
            "dataset (sha256)": not same_data(record).alike(same_data(first.record)),
            "protocol (split, ranking, candidates, ties)":
                same_protocol(record) != same_protocol(first.record)}
        if any(differs.values()):
            what = next(name for name, there in differs.items() if there)
            raise UserError(f"compare: the runs differ in {what}, so their figures do not "
                            "compare; compare runs on the same data and ranking")
        ours, theirs = against.paired(run.ranks["test"], first.ranks["test"])
        mean, low, high = paired_interval(ours[None], theirs[None], 0)
        rows.append({
            "label": record["label"] or record["method"], "method": record["method"],
            "seed": record["seed"], "epsilon": privacy["epsilon"], "trust": privacy["trust"],
            "aggregation": privacy["aggregation"],
            **{cut.name: cut.mean(run.ranks["test"]) for cut in cuts},
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
