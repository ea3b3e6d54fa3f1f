"""The command line. The only file that reads arguments."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from experiments import run as runs
from experiments.arguments import folder_of, overrides, share, show
from experiments.arguments import modalities as modalities_of
from experiments.config import resolve
from experiments.errors import PRIVACY_VIOLATION, UserError
from experiments.interrupts import resumable
from experiments.progress import RunProgress, summary
from privfedmm.data import LICENCE_TERMS, DataError, available, default_cache, fetch_ml100k

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Privacy-hardened federated multimodal recommendation.",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks.")
app.add_typer(data_app, name="data")
deploy_app = typer.Typer(no_args_is_help=True, help="The same runs on Flower.")
app.add_typer(bench_app, name="bench")
app.add_typer(deploy_app, name="deploy")

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file; flags win over it.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as path=value: algorithm.local.epochs=3."),
]


def _console() -> Console:
    return Console(stderr=True)


@app.command()
def run(
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="gfmfr, backbone, local, group_statistics (default with --dp-epsilon), "
                     "taste, popularity or popularity_profile."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="mf or fedrap.")] = None,
    mode: Annotated[str | None, typer.Option(help="default or reference.")] = None,
    modalities: Annotated[
        str | None, typer.Option(help="all, none, or names with commas: text,image.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    k_core: Annotated[int | None, typer.Option(help="k-core filter; 0 for none.")] = None,
    aggregation: Annotated[str | None, typer.Option(help="plain or masked.")] = None,
    group_statistics: Annotated[
        str | None, typer.Option(help="plain, masked or encrypted; default: as --aggregation.")
    ] = None,
    dp_epsilon: Annotated[
        float | None, typer.Option(help="Budget of the whole run; inf: clip without noise.")
    ] = None,
    dp_delta: Annotated[
        float | None, typer.Option(help="Default min(1e-5, users^-1.1); below 1 / users.")
    ] = None,
    trust: Annotated[str | None, typer.Option(help="central, local or distributed.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="What is protected: user, or a single interaction.")
    ] = None,
    sampling: Annotated[str | None, typer.Option(help="everyone, poisson or fixed.")] = None,
    sampling_rate: Annotated[float | None, typer.Option(help="Share of users a round.")] = None,
    noise: Annotated[
        str | None, typer.Option(help="csprng, or simulation: repeatable, protects nobody.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the run in tables.")] = None,
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    json_: JsonOption = False,
) -> None:
    """Train, evaluate and leave a record."""
    console = _console()
    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "algorithm.model.backbone": backbone, "mode": mode,
        "rounds": rounds, "seed": seed, "k_core": k_core, "aggregation": aggregation,
        "group_statistics": group_statistics,
        "dp.epsilon": dp_epsilon, "dp.delta": dp_delta, "dp.trust": trust, "dp.unit": unit,
        "dp.sampling": sampling, "dp.sampling_rate": sampling_rate, "dp.noise": noise,
        "label": label, "algorithm.modalities": modalities_of(modalities), **overrides(settings),
    }
    if resume is not None:
        given = [name for name, value in flags.items() if value is not None]
        if given or config or out:
            raise UserError("--resume takes the settings of the run it continues; "
                            "give no other option with it")
        folder, rounds_ = resume, runs.rounds_of(resume)
        with RunProgress(console, rounds_) as progress:
            record = resumable(lambda: runs.resume(folder, progress), folder)
    else:
        resolved = resolve(config, flags)
        folder = folder_of(out, resolved)
        with RunProgress(console, resolved.rounds) as progress:
            record = resumable(
                lambda: runs.start(resolved, folder, progress, progress.announce), folder)
    if json_:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))


@data_app.command("list")
def data_list() -> None:
    """Known data sets."""
    for name, what in available().items():
        print(f"{name:10} {what}")


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(help="ml-100k")]) -> None:
    """Fetch a data set into the cache and print its licence terms."""
    if name != "ml-100k":
        raise UserError(f"data get: {name!r} cannot be fetched; known is ml-100k")
    try:
        folder = fetch_ml100k(default_cache())
    except DataError as error:
        raise UserError(f"data get: {error}") from error
    print(f"ml-100k is in {folder}\n\n{LICENCE_TERMS}")


@bench_app.command("round")
def bench_round(
    dataset: Annotated[str, typer.Option(help="Known name or folder.")] = "planted",
    backbone: Annotated[str, typer.Option(help="mf or fedrap.")] = "mf",
    epochs: Annotated[int, typer.Option(help="Local epochs.")] = 5,
    seed: Annotated[int, typer.Option()] = 0,
    json_: JsonOption = False,
) -> None:
    """Time a vectorised round against a loop over clients with torch modules and autograd."""
    from experiments.benchmarks.round import bench

    show(bench(dataset, backbone, epochs, seed), json_)


@bench_app.command("secagg")
def bench_secagg(
    dataset: Annotated[str, typer.Option(help="Known name or folder.")] = "planted",
    clients: Annotated[
        str, typer.Option(help="Sizes of the table, with commas.")] = "100,943,5000",
    dims: Annotated[int, typer.Option(help="Values of a vector in the table.")] = 5000,
    seed: Annotated[int, typer.Option()] = 0,
    json_: JsonOption = False,
) -> None:
    """Time masked rounds against plain ones, and the protocol alone over sizes and dropouts."""
    from experiments.benchmarks.secagg import bench

    show(bench(dataset, [int(n) for n in clients.split(",")], dims, seed), json_)


@bench_app.command("encrypted")
def bench_encrypted(
    clients: Annotated[str, typer.Option(help="Sizes, with commas.")] = "943,5000",
    groups: Annotated[int, typer.Option(min=1)] = 5,
    rank: Annotated[int, typer.Option(min=1, help="Public components of a group's table.")] = 32,
    dim: Annotated[int, typer.Option(min=1, help="Width of a table.")] = 32,
    json_: JsonOption = False,
) -> None:
    """Time encryption, addition and decryption of group statistics."""
    from experiments.benchmarks.encrypted import bench

    show(bench([int(n) for n in clients.split(",")], groups, rank, dim), json_)


@bench_app.command("deploy")
def bench_deploy(
    nodes: Annotated[str, typer.Option(help="Numbers of nodes, with commas.")] = "3,10",
    users: Annotated[int, typer.Option(min=30, help="Users of the planted set.")] = 60,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/bench-deploy"),
    json_: JsonOption = False,
) -> None:
    """Seconds and bytes a round of real deployments on loopback, and where they go."""
    from experiments.benchmarks.deploy import bench

    show(bench([int(n) for n in nodes.split(",")], users, out), json_)


@deploy_app.command("local")
def deploy_local(
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[str | None, typer.Option(help="As for run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    aggregation: Annotated[str | None, typer.Option(help="As for run.")] = None,
    group_statistics: Annotated[str | None, typer.Option(help="As for run.")] = None,
    dp_epsilon: Annotated[float | None, typer.Option(help="Budget, as for run.")] = None,
    trust: Annotated[str | None, typer.Option(help="central, local or distributed.")] = None,
    noise: Annotated[str | None, typer.Option(help="As for run.")] = None,
    settings: SetOption = None,
    nodes: Annotated[int | None, typer.Option(help="SuperNodes that share the users.")] = None,
    wait: Annotated[float | None, typer.Option(help="Seconds an exchange may take.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue a deployment.")] = None,
    json_: JsonOption = False,
) -> None:
    """SuperLink, SuperNodes and the run on this machine, with TLS and authenticated nodes."""
    from experiments.deployment.command import play

    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
        "aggregation": aggregation, "group_statistics": group_statistics,
        "dp.epsilon": dp_epsilon, "dp.trust": trust, "dp.noise": noise, **overrides(settings),
    }
    play(_console(), config, flags, nodes, wait, out, resume, json_)


@app.command()
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
    from experiments.compare import compare as comparison
    from experiments.compare import markdown as section

    console = _console()
    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
        "dp.epsilon": dp_epsilon, "baselines": [], **overrides(settings),
    }
    resolved = resolve(config, flags)
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


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Without the slow accountants for sampled rounds.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Check a run's budget: hash chain, record and config against it, independent prices."""
    from experiments.audit import audit_run, tables

    result = audit_run(folder, quick)
    if json_:
        print(json.dumps(result))
    else:
        for table in tables(result):
            _console().print(table, highlight=False)
    if result["faults"]:
        raise UserError("audit: " + "; ".join(result["faults"]), PRIVACY_VIOLATION)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="TOML with [base], [[variants]] and seeds.")],
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs/sweep"),
    dataset: Annotated[str | None, typer.Option(help="Wins over the file's.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="Runs side by side.")] = 1,
) -> None:
    """Run every variant at every epsilon with every seed; what is finished is not run again."""
    from experiments.sweep import run_sweep

    console = _console()
    run_sweep(file, out, dataset, lambda text: console.print(text, highlight=False),
              processes)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.")],
    out: Annotated[Path | None, typer.Option(help="Markdown file; default: print.")] = None,
    against: Annotated[
        str, typer.Option(help="Label, or curve over epsilon, that the others are compared with.")
    ] = "",
    title: Annotated[str, typer.Option()] = "Results",
    html: Annotated[
        Path | None, typer.Option(help="Self-contained page with curves, costs and sources.")
    ] = None,
    scaling: Annotated[
        list[Path] | None,
        typer.Option(help="Folders of runs of other sizes, for the figure over users (--html)."),
    ] = None,
) -> None:
    """Tables and curves from run records: means over seeds, baselines, paired intervals."""
    from experiments.report import markdown

    if html is not None:
        from experiments.report_html import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(folders, against, title, scaling or []), encoding="utf-8")
    if out is None and html is not None:
        return
    text = markdown(folders, against, title)
    if out is None:
        print(text)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


def main() -> None:
    """Entry point: errors of the user are one sentence on standard error and an exit code."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        print(f"privfedmm: {error}", file=sys.stderr)
        sys.exit(error.code)
