"""`privfedmm tune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.arguments import folder_of, overrides
from experiments.cli.choices import Registered
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors
from privfedmm.base.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table


def tune(
    param: Annotated[list[str] | None, typer.Option(
        help="A setting to choose: PATH=LOW..HIGH, PATH=LOW..HIGH:log, PATH=A,B,C; of a setting "
        "with few values PATH alone. May be given again.")] = None,
    trials: Annotated[int | None, typer.Option(
        min=1, help="Looks at validation, each a run; default 20.")] = None,
    metric: Annotated[str | None, typer.Option(
        help="Validation metric that is to be large; default ndcg@50.")] = None,
    accept_price: Annotated[bool, typer.Option(
        "--accept-price", help="With --dp-epsilon: pay what all looks cost together, which is "
        "said without this.")] = False,
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[str | None, typer.Option(
        help="As for run.", click_type=Registered("methods"))] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of a look at most.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the search and of every run in it.")] = None,
    dp_epsilon: Annotated[
        float | None, typer.Option(help="Budget of one run, as for run.")] = None,
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(
        help="Go on with the search in this folder; --trials: up to so many looks in all.")] = None,
    json_: JsonOption = False,
) -> None:
    """Choose settings by validation metrics, never by test ones; the price of it is said."""
    from privfedmm.base.interrupts import resumable
    from privfedmm.tuning import METRIC, PLAN, TRIALS, Search
    from privfedmm.tuning import resume as go_on
    from privfedmm.tuning import start as begin

    console = errors()

    def tell(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    flags: dict[str, Any] = {"dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
                             "dp.epsilon": dp_epsilon, **overrides(settings)}
    if resume is not None:
        given = [name for name, value in flags.items() if value is not None]
        if given or config or out or param or metric:
            raise UserError("--resume takes the settings of the search it continues; give no other "
                            "option with it but --trials and --accept-price")
        folder = resume
        console.keep(folder, PLAN)
        result = resumable(lambda: go_on(folder, trials, accept_price, tell), folder, "tune", PLAN)
    else:
        search = Search(flags=flags, texts=tuple(param or ()), file=config,
                        trials=trials or TRIALS, metric=metric or METRIC)
        with folder_of(out, search.config({}), "tune") as folder:
            console.keep(folder, PLAN)
            result = resumable(
                lambda: begin(search, folder, accept_price, tell), folder, "tune", PLAN)
    if json_:
        print(json.dumps({**result, "folder": str(folder)}))
        return
    console.print(_table(result))
    for line in result["said"]:
        tell(line)
    tell(f"{result['looks']} looks at validation; wrote {folder}. The best of them, which says so "
         "in its record:")
    print(result["command"])


def _table(result: dict[str, Any]) -> Table:
    from rich.table import Table

    from privfedmm.tuning.search import shown

    rows = sorted(result["trials"], key=lambda row: -(row["value"] or 0.0))
    paths = list(dict.fromkeys(path for row in rows for path in row["settings"]))
    table = Table(title=f"{result['dataset']}: {result['metric']}")
    for name in ("look", *paths, result["metric"].removeprefix("validation ")):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            str(row["number"]), *(shown(row["settings"].get(path, "")) for path in paths),
            row["state"] if row["value"] is None else f"{row['value']:.4f}",
            style="bold" if row == result["best"] else "")
    return table
