"""`privfedmm compare`, `audit`, `sweep` and `report`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.arguments import overrides, share
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors
from privfedmm.base.errors import PRIVACY_VIOLATION, UserError


def compare(
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[str | None, typer.Option(help="As for run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    dp_epsilon: Annotated[float | None, typer.Option(help="Budget, as for run.")] = None,
    modes: Annotated[
        str, typer.Option(help="Ways of summing, with commas.")] = "plain,masked,encrypted",
    dropouts: Annotated[
        str, typer.Option(help="Shares of clients that vanish, with commas.")] = "0,0.1,0.3",
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default under runs/.")] = None,
    json_: JsonOption = False,
) -> None:
    """The same run under several ways of summing: metrics, bytes, seconds, dropouts, leaks."""
    from privfedmm.audit.compare import compare as comparison
    from privfedmm.audit.compare import markdown as section
    from privfedmm.config import resolve

    console = errors()
    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
        # All modes with the settings of a masked run, so that the same vectors are summed.
        "aggregation": "masked", "dp.epsilon": dp_epsilon, "baselines": [],
        **overrides(settings),
    }
    resolved = resolve(config, flags, fixed_rounds=True)  # the same number for every mode
    folder = out or Path("runs") / (
        f"compare-{Path(resolved.dataset).name}-seed{resolved.seed}-"
        f"{time.strftime('%Y%m%d-%H%M%S')}")
    shares = [share(text) for text in dropouts.split(",") if text]
    result = comparison(resolved, [m for m in modes.split(",") if m], shares, folder,
                        lambda text: console.print(text, highlight=False))
    if json_:
        print(json.dumps({**result, "folder": str(folder)}))
    else:
        print(section(result))


def audit(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer canaries, clients, modes and accountants.")
    ] = False,
    canaries: Annotated[
        int | None, typer.Option(help="Default 400, or 1,000 from 6,000 users.")] = None,
    audit_seed: Annotated[
        int | None, typer.Option(help="Repeats coins and directions; default: not repeatable.")
    ] = None,
    full_protocol: Annotated[
        bool, typer.Option("--full-protocol", help="Canaries through real masks and ciphertexts.")
    ] = False,
    parts: Annotated[
        str, typer.Option(help="With commas; the budget is always checked.")
    ] = "budget,empirical,attacks",
    sabotage_table: Annotated[
        Path | None,
        typer.Option(help="Instead: break the run's stack on purpose; rates, as Markdown."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Check a run's budget, audit its stack with canaries, attack every mode; exit 3 on a fault.

    What is finished is not repeated, unless the run or the options changed.
    """
    from experiments.report.audit_tables import tables
    from experiments.report.sabotage_table import write_table
    from privfedmm.audit.audit_run import Options, audit_run

    console = errors()

    def tell(text: str) -> None:
        console.print(text, highlight=False)

    if sabotage_table is not None:
        write_table(folder, sabotage_table, tell)
        return
    result = audit_run(folder, Options(
        quick=quick, canaries=canaries, seed=audit_seed, full_protocol=full_protocol,
        parts=tuple(parts.split(","))), tell)
    if json_:
        print(json.dumps(result))
    else:
        for table in tables(result):
            console.print(table, highlight=False)
    if result["faults"]:
        raise UserError("audit: " + "; ".join(result["faults"]), PRIVACY_VIOLATION)


def sweep(
    file: Annotated[
        Path, typer.Argument(help="TOML file: a table base, tables variants, and seeds.")],
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs/sweep"),
    dataset: Annotated[str | None, typer.Option(help="Wins over the file's.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
) -> None:
    """Run every variant at every epsilon with every seed; what is finished is not run again."""
    from privfedmm.runs.sweep import run_sweep

    console = errors()
    run_sweep(file, out, dataset, lambda text: console.print(text, highlight=False),
              processes)


def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file; default: print.")] = None,
    against: Annotated[
        str, typer.Option(help="Label, or curve over epsilon, that the others are compared with.")
    ] = "",
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Results",
    html: Annotated[
        Path | None, typer.Option(help="Self-contained page with curves, costs and sources.")
    ] = None,
    scaling: Annotated[
        list[Path] | None,
        typer.Option(help="Folders of runs of other sizes, for the figure over users (--html)."),
    ] = None,
    gallery: Annotated[
        int, typer.Option(min=0, help="Users whose items are shown, with pictures (--html).")
    ] = 0,
) -> None:
    """Tables and curves from run records: means over seeds, baselines, paired intervals."""
    from experiments.report.tables import markdown

    if html is not None:
        from experiments.report.page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(folders, against, title, scaling or [], gallery), encoding="utf-8")
    if out is None and html is not None:
        return
    text = markdown(folders, against, title)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
