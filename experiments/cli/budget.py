"""`privfedmm budget`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from experiments.cli.arguments import overrides
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors, reporter


def budget(
    dataset: Annotated[str, typer.Argument(help="Known name or folder, as for run.")],
    dataset_budget: Annotated[
        float | None,
        typer.Option(help="Epsilon that all private runs on these users may cost, from now on; "
                     "inf: no limit.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """What all private runs on the users of a data set cost together, on this machine."""
    from experiments.cli.talk import results
    from privfedmm.config import resolve
    from privfedmm.runs.account import Account, totals
    from privfedmm.runs.run import load_data

    data = load_data(resolve(config, {"dataset": dataset, **overrides(settings)}),
                     reporter(errors()))
    account = Account(data)
    if dataset_budget is not None:
        account.limit(dataset_budget)
    held = account.read()
    found = totals(held["runs"])
    if json_:
        print(json.dumps({**held, "file": str(account.file), "totals": [vars(t) for t in found]}))
        return
    console = results()
    console.print(_table(held), highlight=False)
    for total in found:
        console.print(total.line(), highlight=False)
    limit = "no limit is set" if held["budget"] is None else f"limit: epsilon {held['budget']:g}"
    console.print(f"{limit}; remembered in {account.file}", highlight=False, soft_wrap=True)


def _table(held: dict[str, Any]) -> Table:
    out = Table(title=f"private runs on the {held['users']} users of {Path(held['name']).name}")
    for name in ("run", "label", "epsilon", "unit", "state", "folder"):
        out.add_column(name)
    for run in held["runs"]:
        state = "finished" if run["finished"] else "charged in full"
        out.add_row(run["run"][:8], run["label"], f"{run['epsilon']:.4g}", run["unit"],
                    state if run["claims"] else "no claim (simulated noise)",
                    run["folder"] or "in memory")
    return out
