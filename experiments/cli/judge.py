"""`privfedmm compare`, `audit`, `sweep` and `report`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.arguments import folder_of, numbers, overrides, share
from experiments.cli.arguments import metrics as metrics_of
from experiments.cli.choices import PARTS, Registered, Several, SweepFile
from experiments.cli.common import ConfigOption, JsonOption, MetricsOption, SetOption, errors, wrote
from experiments.cli.talk import Talk
from privfedmm.base.errors import INTERRUPTED, PRIVACY_VIOLATION, UserError


def compare(
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[str | None, typer.Option(
        help="As for run.", click_type=Registered("methods"))] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    dp_epsilon: Annotated[float | None, typer.Option(help="Budget, as for run.")] = None,
    modes: Annotated[str | None, typer.Option(
        help="Ways of summing, with commas; default: plain,masked,encrypted, what of these is "
        "installed.")] = None,
    dropouts: Annotated[
        str, typer.Option(help="Shares of clients that vanish, with commas.")] = "0,0.1,0.3",
    metrics: MetricsOption = None,
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default under runs/.")] = None,
    json_: JsonOption = False,
) -> None:
    """The same run under several ways of summing: metrics, bytes, seconds, dropouts, leaks."""
    from privfedmm.audit.compare import compare as comparison
    from privfedmm.audit.compare import installed
    from privfedmm.audit.compare import markdown as section
    from privfedmm.config import resolve

    console = errors()
    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
        # All modes with the settings of a masked run, so that the same vectors are summed.
        "aggregation": "masked", "dp.epsilon": dp_epsilon, "baselines": [],
        "evaluation.metrics": metrics_of(metrics),
        **overrides(settings),
    }
    resolved = resolve(config, flags, fixed_rounds=True)  # the same number for every mode
    shares = [share(text) for text in dropouts.split(",") if text]
    with folder_of(out, resolved, "compare") as folder:
        console.keep(folder, "compare.json")
        def tell(text: str) -> None:
            console.print(text, highlight=False, soft_wrap=True)

        chosen = installed(tell) if modes is None else [m for m in modes.split(",") if m]
        result = comparison(resolved, chosen, shares, folder, tell)
    if json_:
        print(json.dumps({**result, "folder": str(folder)}))
    else:
        print(section(result))
    wrote(folder / "compare.json")


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
        str, typer.Option(help="With commas; the budget is always checked.",
                          click_type=Several(PARTS))
    ] = "budget,empirical,attacks",
    sabotage_table: Annotated[
        Path | None,
        typer.Option(help="Instead: break the run's stack on purpose; rates, as Markdown."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also tables: releases, prices, canaries, attacks.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Check a run's budget, audit its stack with canaries, attack every mode; exit 3 on a fault.

    What is finished is not repeated, unless the run or the options changed.
    """
    from experiments.report.audit_summary import summary
    from experiments.report.audit_tables import tables
    from experiments.report.sabotage_table import write_table
    from experiments.report.sections import way_of
    from privfedmm.audit.audit_run import Options, audit_run

    chosen = parts.split(",")
    for name, set_ in (("--canaries", canaries is not None), ("--full-protocol", full_protocol)):
        if set_ and "empirical" not in chosen:
            raise UserError(f"{name}: it is for canaries, which --parts leaves out; name the part "
                            "empirical, or leave it out")
    console = errors()

    def tell(text: str) -> None:
        console.print(text, highlight=False)

    if sabotage_table is not None:
        write_table(folder, sabotage_table, tell)
        wrote(sabotage_table)
        return
    console.keep(folder, "record.json")
    result = audit_run(folder, Options(
        quick=quick, canaries=canaries, seed=audit_seed, full_protocol=full_protocol,
        parts=tuple(chosen)), tell)
    wrote(folder / "audit.json")  # the verdict is to be the last word
    if json_:
        print(json.dumps(result))
    else:
        for table in tables(result) if verbose else ():
            console.print(table, highlight=False)
        for line in summary(result, way_of(folder)):
            console.print(line, highlight=False, soft_wrap=True)
    if result["faults"]:
        raise UserError("audit: " + "; ".join(result["faults"]), PRIVACY_VIOLATION)


def sweep(
    file: Annotated[Path, typer.Argument(
        help="TOML file: a table base, tables variants, and seeds; or the name of one that comes "
        "with privfedmm, as headline.", click_type=SweepFile())],
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs/sweep"),
    dataset: Annotated[str | None, typer.Option(help="Wins over the file's.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
    metrics: MetricsOption = None,
    beside: Annotated[
        bool, typer.Option("--beside", help="Where settings have changed since a run was made, "
                           "make a new one beside it; default: refuse, with the difference.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(
        help="Play the variant with this label alone; repeat it for more.")] = None,
    seeds: Annotated[str | None, typer.Option(
        help="With commas, in place of the file's, as in 0,1,2.")] = None,
) -> None:
    """Run every variant at every epsilon with every seed; what is finished is not run again."""
    from privfedmm.runs.sweep import Instead, run_sweep

    console = errors()
    console.keep(out, "")
    try:
        swept = run_sweep(
            file, out, Instead(dataset, metrics_of(metrics), only or None,
                               None if seeds is None else numbers(seeds)),
            lambda text: console.print(text, highlight=False), processes, beside)
    except KeyboardInterrupt:
        raise UserError("stopped; the same command goes on with the runs that are left",
                        INTERRUPTED) from None
    if swept.finished:
        _tell_standings(console, swept.finished, out)
    console.print(swept.says, highlight=False, soft_wrap=True)
    swept.check()


def _tell_standings(console: Talk, folders: list[Path], out: Path) -> None:
    """Show where the runs of a sweep stand, and how to get the page of all that it left."""
    from experiments.report.terminal import standings_tables

    try:
        for part in standings_tables(folders):
            console.print(part, highlight=False)
    except UserError as error:  # of runs that were never meant to stand in one table
        console.print(f"no table of all runs: {error}", highlight=False, soft_wrap=True)
    console.print(f"for the page: privfedmm report {shlex.quote(str(out))} --html "
                  f"{shlex.quote(str(out / 'report.html'))}", highlight=False, soft_wrap=True)


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
        int | None, typer.Option(min=0, help=(
            "Users whose items are shown, with pictures (--html); default: 3 where the users are "
            "made up, else none."))
    ] = None,
) -> None:
    """Tables and curves from run records: means over seeds, baselines, paired intervals."""
    for name, given in (("--scaling", scaling), ("--gallery", gallery)):
        if given and html is None:
            raise UserError(f"{name}: it is drawn on the page alone; give --html FILE as well")
    from experiments.report.finding import find
    from experiments.report.markdown import markdown

    if html is not None:
        from experiments.report.page import page

        _write(html, page(folders, against, title, scaling or [], gallery))
    if out is not None or html is None:
        text = markdown(folders, against, title)
        if out is None:
            print(text)
        else:
            _write(out, text)
    damaged = find(folders).damaged
    if damaged:
        raise UserError(f"report: {len(damaged)} of the records left out, the others are in the "
                        f"table: {'; '.join(damaged)}")


def _write(file: Path, text: str) -> None:
    """Write a page whole, and say so."""
    from privfedmm.base.files import write_text

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror}); name another file, or make "
                        "room") from error
    wrote(file)
