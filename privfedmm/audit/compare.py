"""`privfedmm compare`: one run under several ways of summing, and what each shows the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from privacy import RoundAborted, SystemSource
from privacy.audit import measure, signed_rows, touched_rows
from privacy.extras import MissingExtra
from privfedmm.audit.first_round import FirstRound, first_round
from privfedmm.base.errors import UserError
from privfedmm.base.files import write_json
from privfedmm.config import RunConfig
from privfedmm.data import Dataset
from privfedmm.evaluation import SHOWN
from privfedmm.mechanisms.aggregators import AGGREGATORS, OWN, PLAIN
from privfedmm.runs import run as runs
from privfedmm.runs.identity import changes
from privfedmm.runs.record import set_threads

RESULT = "compare.json"
WATCHED = 100  # clients whose uploads the attack reads


def compare(
    config: RunConfig, modes: Sequence[str], dropouts: Sequence[float], out: Path,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Play the run and its first round under every mode; write figures, dropouts and leaks to
    compare.json in `out`, and return them.

    modes: names of ways of summing; where one carries a part of the releases alone, masks carry the
    rest. A run that is finished in `out` is not played again. Raises UserError for unknown modes,
    MissingExtra for one whose library is not installed, before anything is played.
    """
    for mode in modes:
        if mode not in AGGREGATORS:
            raise UserError(f"--modes: {AGGREGATORS.unknown(mode)}")
        AGGREGATORS.get(mode).check()
    if not config.entry.can.federated:
        raise UserError(f"--method: {config.method} sends nothing, there is nothing to compare")
    set_threads(config.threads)
    data = runs.load_data(config)
    openly = _with(config, PLAIN.name)
    plain = first_round(openly, data, WATCHED)
    found: dict[str, Any] = {}
    for mode in modes:
        tell(f"{mode}: run")
        used = _with(config, mode)
        record = _played(used, out / mode)
        tell(f"{mode}: first round, leaks and dropouts")
        view = plain if used == openly else first_round(used, data, WATCHED)
        found[mode] = {
            "metrics": record["metrics"],
            "aggregation": record["privacy"]["aggregation"],
            "server_sees": record["privacy"]["server_sees"],
            "max_update_difference": _difference(plain, view),
            "quantisation_bound": view.rounding_bound,
            "bytes_up_per_client_round": record["costs"]["bytes_up_per_client_round"],
            "bytes_down_per_client_round": record["costs"]["bytes_down_per_client_round"],
            "seconds": record["costs"]["seconds"],
            "leak": _leak(mode, view, data),
            "messages": view.messages,
            "dropout": {str(rate): _dropout(config, mode, data, rate) for rate in dropouts},
        }
    result = {
        "dataset": data.name, "users": data.num_users, "seed": config.seed,
        "method": config.method, "rounds": config.rounds, "modes": found,
        "shown": ["ndcg@50"] if config.evaluation.metrics == SHOWN else [
            *config.evaluation.metrics],
    }
    write_json(out / RESULT, result)
    return result


def installed(tell: Callable[[str], None]) -> list[str]:
    """Return the package's own modes whose libraries are installed.

    tell: is told which one is left out, and how to get it.
    """
    out = []
    for mode in OWN:
        try:
            AGGREGATORS.get(mode).check()
            out.append(mode)
        except MissingExtra as error:
            tell(f"{mode} is left out: {error}")
    return out


def _with(config: RunConfig, mode: str, **secure: float) -> RunConfig:
    values = config.model_dump() | AGGREGATORS.get(mode).alone()
    values["secure"] |= secure
    return RunConfig.model_validate(values)


def _played(config: RunConfig, folder: Path) -> dict[str, Any]:
    differs = changes(folder, config)
    if differs:
        raise UserError(f"compare: {folder} holds a run with other settings: {'; '.join(differs)}; "
                        "put them back, or name another --out")
    if (folder / runs.CONFIG).exists():
        return runs.resume(folder, lambda row: None)
    return runs.start(config, folder, lambda row: None)


def _difference(plain: FirstRound, other: FirstRound) -> float:
    """Largest difference of any value of the first round's sums."""
    return max(float((plain.sums[n] - other.sums[n]).abs().max()) for n in plain.sums)


def _leak(mode: str, view: FirstRound, data: Dataset) -> dict[str, Any]:
    """How well the server tells a client's interactions from what it received of that client."""
    if view.seen is None:
        return {"why_not": view.unseen}
    truth = np.zeros((len(view.watched), data.num_items), dtype=bool)
    for row, client in enumerate(view.watched.tolist()):
        start, stop = data.train.indptr[client : client + 2]
        truth[row, data.train.indices[start:stop]] = True
    # A table one value wide has no directions: there an interaction is a row that is not zero.
    attack = signed_rows if view.seen.shape[2] > 1 else touched_rows
    cell = measure(mode, "interactions from an upload", attack(view.seen, truth), SystemSource())
    decided = cell.decided
    return {
        "precision": decided.precision.value, "recall": decided.recall.value,
        "f1": decided.f1.value, "auc": cell.auc.value, "chance_f1": cell.chance_f1,
        "f1_interval": [decided.f1.low, decided.f1.high],
        "auc_interval": [cell.auc.low, cell.auc.high], "clients": len(view.watched),
    }


def _dropout(config: RunConfig, mode: str, data: Dataset, rate: float) -> dict[str, Any]:
    """One round in which `rate` of the clients vanish, at all stages; planned for a little more."""
    planned = _with(config, mode, simulated_dropout=rate, dropout=max(config.secure.dropout,
                                                                      rate + 0.05))
    try:
        view = first_round(planned, data, 0)
        reference = first_round(
            _with(config, PLAIN.name, simulated_dropout=rate, dropout=rate + 0.05), data, 0)
    except (RoundAborted, UserError) as error:
        return {"finished": False, "why": str(error)}
    return {
        "finished": True, "survivors": view.survivors, "seconds": view.seconds,
        "bytes_up_per_client": view.bytes_up, "bytes_down_per_client": view.bytes_down,
        "max_update_difference": _difference(reference, view),
        "quantisation_bound": view.rounding_bound,
    }


def markdown(result: dict[str, Any]) -> str:
    """Return the comparison as a section of a report."""
    shown = result.get("shown", ["ndcg@50"])
    lines = [
        f"## Ways of summing: {result['dataset']}, {result['method']}, seed {result['seed']}, "
        f"{result['rounds']} rounds",
        "",
        f"| mode | {' | '.join(f'test {name}' for name in shown)} "
        "| largest difference to plain (bound) | up, KiB | down, KiB "
        "| run, s | leak: precision | recall | F1 (chance) | AUC |",
        "|---" * (len(shown) + 9) + "|",
    ]
    for mode, row in result["modes"].items():
        test = " | ".join(f"{row['metrics']['test'][name]:.4f}" for name in shown)
        leak, bound = row["leak"], row["quantisation_bound"]
        figures = (" | ".join(f"{leak[k]:.3f}" for k in ("precision", "recall"))
                   + f" | {leak['f1']:.3f} ({leak['chance_f1']:.3f}) | {leak['auc']:.3f}"
                   if "f1" in leak else "- | - | - | -")
        lines.append(
            f"| {mode} | {test} "
            f"| {row['max_update_difference']:.2e} ({'-' if bound is None else f'{bound:.2e}'}) "
            f"| {row['bytes_up_per_client_round'] / 1024:.0f} "
            f"| {row['bytes_down_per_client_round'] / 1024:.0f} "
            f"| {row['seconds']['train']:.1f} | {figures} |")
    lines += ["", "| mode | dropout | outcome | survivors | round, s | up, KiB | difference |",
              "|---|---|---|---|---|---|---|"]
    for mode, row in result["modes"].items():
        for rate, cell in row["dropout"].items():
            lines.append(
                f"| {mode} | {float(rate):.0%} | " + (
                    f"exact sum of survivors | {cell['survivors']} | {cell['seconds']:.2f} | "
                    f"{cell['bytes_up_per_client'] / 1024:.0f} | "
                    f"{cell['max_update_difference']:.1e} |" if cell["finished"]
                    else f"aborted: {cell['why']} | | | | |"))
    return "\n".join(lines) + "\n"
