"""The command line. The only file that reads arguments."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from experiments import run as runs
from experiments.config import resolve
from experiments.errors import PRIVACY_VIOLATION, UserError
from experiments.interrupts import resumable
from experiments.progress import RunProgress, summary
from privfedmm.data import LICENCE_TERMS, DataError, available, default_cache, fetch_ml100k
from privfedmm.encoders import Report

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Privacy-hardened federated multimodal recommendation.",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks.")
app.add_typer(data_app, name="data")
app.add_typer(bench_app, name="bench")

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file; flags win over it.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as path=value: algorithm.local.epochs=3."),
]


AllowMissingOption = Annotated[
    bool | None,
    typer.Option("--allow-missing", help="Go on without texts and pictures that are not there "
                 "or cannot be read; the record counts them."),
]


def _console() -> Console:
    return Console(stderr=True)


def _reporter(console: Console) -> Report:
    return lambda line: console.print(f"encode {line}", highlight=False, soft_wrap=True)


def _overrides(pairs: list[str] | None) -> dict[str, Any]:
    out = {}
    for pair in pairs or []:
        path, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair}: write it as path=value")
        try:
            out[path] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            out[path] = text
    return out


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
    cold_items: Annotated[
        float | None, typer.Option(help="Share of items held out of training, judged apart.")
    ] = None,
    text_model: Annotated[str | None, typer.Option(help="For raw texts: see data encode.")] = None,
    image_model: Annotated[str | None, typer.Option(help="For raw pictures: likewise.")] = None,
    allow_missing: AllowMissingOption = None,
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
        "cold_items": cold_items, "encoders.text_model": text_model,
        "encoders.image_model": image_model, "encoders.allow_missing": allow_missing,
        "label": label, "algorithm.modalities": _modalities(modalities), **_overrides(settings),
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
        folder = out or Path("runs") / (
            f"{Path(resolved.dataset).name}-{resolved.method}-seed{resolved.seed}-"
            f"{time.strftime('%Y%m%d-%H%M%S')}"
        )
        with RunProgress(console, resolved.rounds) as progress:
            record = resumable(
                lambda: runs.start(
                    resolved, folder, progress, progress.announce, _reporter(console)), folder)
    if json_:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))


def _modalities(text: str | None) -> object:
    if text in (None, "all", "none"):
        return text
    assert text is not None
    return [name.strip() for name in text.split(",")]


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

    _print(bench(dataset, backbone, epochs, seed), json_)


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

    _print(bench(dataset, [int(n) for n in clients.split(",")], dims, seed), json_)


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

    _print(bench([int(n) for n in clients.split(",")], groups, rank, dim), json_)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            print(f"{key:28} {row}")


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
        "dp.epsilon": dp_epsilon, "baselines": [], **_overrides(settings),
    }
    resolved = resolve(config, flags)
    folder = out or Path("runs") / (
        f"compare-{Path(resolved.dataset).name}-seed{resolved.seed}-"
        f"{time.strftime('%Y%m%d-%H%M%S')}")
    shares = [_share(text) for text in dropouts.split(",") if text]
    result = comparison(resolved, [m for m in modes.split(",") if m], shares, folder,
                        lambda text: console.print(text, highlight=False))
    if json_:
        print(json.dumps({**result, "folder": str(folder)}))
    else:
        print(section(result))


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError as error:
        raise UserError(f"--dropouts: {text!r} is not a number; write 0,0.1,0.3") from error
    if not 0 <= share < 0.45:
        raise UserError(f"--dropouts: {share:g} must be at least 0 and below 0.45")
    return share


@data_app.command("encode")
def data_encode(
    folder: Annotated[Path, typer.Argument(help="Folder with items.csv and images/ or a zip.")],
    text_model: Annotated[
        str | None, typer.Option(help="minilm, hashing, none, a model folder or a hub name.")
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="efficientnet-lite0, histogram, none, a model folder or a hub name."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items a batch.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    allow_missing: AllowMissingOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a hub name that is not on this machine.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    json_: JsonOption = False,
) -> None:
    """Encode texts and pictures into the feature cache, where a run finds them."""
    from experiments.encode import encode_folder
    from experiments.record import set_threads

    set_threads(threads)
    given = {"text_model": text_model, "image_model": image_model, "batch_size": batch_size,
             "device": device, "allow_missing": allow_missing}
    result = encode_folder(folder, given, download, _reporter(_console()))
    if json_:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:12} {value}")


@app.command()
def recommend(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    user: Annotated[str, typer.Option(help="A user id of the data.")],
    top: Annotated[int, typer.Option(help="How many items.")] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="What each score is the sum of, by modality.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Titles with scores for a user, from a run's best model."""
    from experiments.recommend import recommend as find
    from experiments.recommend import table

    result = find(folder, user, top, explain)
    if json_:
        print(json.dumps(result))
    else:
        Console().print(table(result), highlight=False)


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
