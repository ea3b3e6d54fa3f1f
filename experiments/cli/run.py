"""`privfedmm run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments.cli.arguments import folder_of, overrides, sampled
from experiments.cli.arguments import metrics as metrics_of
from experiments.cli.arguments import modalities as modalities_of
from experiments.cli.choices import (
    LOGGERS,
    MODES,
    NOISES,
    SAMPLINGS,
    SPLITS,
    TRUSTS,
    UNITS,
    Registered,
    one_of,
)
from experiments.cli.common import (
    AllowMissingOption,
    ColumnsOption,
    ConfigOption,
    DuplicatesOption,
    JsonOption,
    KCoreOption,
    MetricsOption,
    MinRatingOption,
    SetOption,
    errors,
    reporter,
    tell_picked,
)
from privfedmm import __version__
from privfedmm.base.errors import UserError

if TYPE_CHECKING:
    from privfedmm.runs.run import Listener


def run(
    config: ConfigOption = None,
    dataset: Annotated[
        str | None, typer.Option(help="Known name, folder or file; docs/data.md lists formats.")
    ] = None,
    columns: ColumnsOption = None,
    min_rating: MinRatingOption = None,
    duplicates: DuplicatesOption = None,
    method: Annotated[
        str | None,
        typer.Option(help="`privfedmm methods` lists them; default gfmfr, with --dp-epsilon "
                     "group_statistics.", click_type=Registered("methods")),
    ] = None,
    backbone: Annotated[str | None, typer.Option(
        help="`privfedmm backbones` lists them.", click_type=Registered("backbones"))] = None,
    mode: Annotated[str | None, typer.Option(
        help="reference: as the reference code does, its faults included.",
        click_type=one_of(MODES))] = None,
    modalities: Annotated[
        str | None, typer.Option(help="all, none, or names with commas: text,image.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    patience: Annotated[int | None, typer.Option(
        help="Rounds in a row without a better validation ndcg@50 after which training stops; 0: "
        "never. Under a budget the rounds are fixed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    k_core: KCoreOption = None,
    split: Annotated[str | None, typer.Option(
        help="What is held out; given: every item that the data says.",
        click_type=one_of(SPLITS))
    ] = None,
    metrics: MetricsOption = None,
    aggregation: Annotated[str | None, typer.Option(
        help="How updates are summed: plain, masked, or another of `privfedmm aggregators`.",
        click_type=Registered("aggregators"))
    ] = None,
    group_statistics: Annotated[
        str | None, typer.Option(help="plain, masked or encrypted; default: as --aggregation.",
                                 click_type=Registered("aggregators"))
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
    trust: Annotated[str | None, typer.Option(
        help="Who adds the noise.", click_type=one_of(TRUSTS))] = None,
    unit: Annotated[
        str | None, typer.Option(help="What is protected: a user, or a single interaction.",
                                 click_type=one_of(UNITS))
    ] = None,
    sampling: Annotated[str | None, typer.Option(
        help="Who takes part in a round.", click_type=one_of(SAMPLINGS))] = None,
    sampling_rate: Annotated[
        float | None, typer.Option(help="Share of users a round; with or without a budget.")
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="simulation: repeatable, protects nobody.",
                                 click_type=one_of(NOISES))
    ] = None,
    label: Annotated[str | None, typer.Option(help="Name of the run in tables.")] = None,
    settings: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    dataset_budget: Annotated[
        float | None,
        typer.Option(help="Epsilon that all private runs on these users may cost, from now on.")
    ] = None,
    accept_changed_code: Annotated[
        bool, typer.Option("--accept-changed-code", help="With --resume: go on though the code of "
                           "a private run has changed; its ledger says so.")
    ] = False,
    log: Annotated[list[str] | None, typer.Option(
        help="Tell rounds to a logger too, in the run folder; may be given again. Under a budget "
        "one that may leave this machine is told what the claim covers alone.",
        click_type=one_of(LOGGERS))] = None,
    json_: JsonOption = False,
) -> None:
    """Train, evaluate and leave a record."""
    # Imported when the command runs: --help must not wait for them.
    from experiments.cli.progress import RunProgress, summary
    from privfedmm.base.interrupts import resumable
    from privfedmm.config import resolve, resolve_saved
    from privfedmm.loggers import logging
    from privfedmm.runs import run as runs
    from privfedmm.runs.shape import rounds_of

    console = errors()

    def tell(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "algorithm.model.backbone": backbone, "mode": mode,
        "columns": columns, "min_rating": min_rating, "duplicates": duplicates,
        "rounds": rounds, "evaluation.patience": patience, "seed": seed, "k_core": k_core,
        "aggregation": aggregation, "split": split, "evaluation.metrics": metrics_of(metrics),
        "group_statistics": group_statistics,
        "dp.epsilon": dp_epsilon, "dp.delta": dp_delta, "dp.trust": trust, "dp.unit": unit,
        "dp.sampling": sampling, "dp.sampling_rate": sampling_rate, "dp.noise": noise,
        "cold_items": cold_items, "encoders.text_model": text_model,
        "encoders.image_model": image_model, "encoders.allow_missing": allow_missing,
        "label": label, "algorithm.modalities": modalities_of(modalities), **overrides(settings),
    }
    if accept_changed_code and resume is None:
        raise UserError("--accept-changed-code: it is for a run that is continued; give --resume "
                        "as well, or leave it out")
    if resume is not None:
        flags["--dataset-budget"] = dataset_budget
        given = [name for name, value in flags.items() if value is not None]
        if given or config or out:
            raise UserError("--resume takes the settings of the run it continues; "
                            "give no other option with it")
        folder, rounds_ = resume, rounds_of(resume)
        console.keep(folder)
        with (RunProgress(console, rounds_) as progress,
              logging(log or (), resolve_saved(folder / runs.CONFIG), folder, tell) as loggers):
            listen = both(progress, loggers)
            record = resumable(
                lambda: runs.resume(folder, listen, accept_changed_code), folder)
            loggers.finish(record)
    else:
        flags = sampled(config, flags)
        resolved = resolve(config, flags)
        tell_picked(console, config, flags)
        with (folder_of(out, resolved) as folder,
              RunProgress(console, resolved.most_rounds) as progress,
              logging(log or (), resolved, folder, tell) as loggers):
            # A folder that holds a run already is refused, and its log is not this run's.
            if not (folder / runs.CONFIG).exists():
                console.keep(folder)
            console.detail(f"privfedmm {__version__}; run folder {folder}; given: " + (", ".join(
                f"{path}={value}" for path, value in flags.items() if value is not None)
                or "nothing"))
            listen = both(progress, loggers)
            record = resumable(
                lambda: runs.start(
                    resolved, folder, listen, progress.announce, reporter(console),
                    dataset_budget, progress.describe), folder)
            loggers.finish(record)
    if json_:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))


def both(*listeners: Listener) -> Listener:
    """Return what tells every one of several listeners of a round."""
    def listen(row: dict[str, Any]) -> None:
        for one in listeners:
            one(row)

    return listen
