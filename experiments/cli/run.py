"""`privfedmm run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.arguments import folder_of, overrides
from experiments.cli.arguments import modalities as modalities_of
from experiments.cli.common import (
    AllowMissingOption,
    ConfigOption,
    JsonOption,
    SetOption,
    errors,
    reporter,
)
from privfedmm.base.errors import UserError


def run(
    config: ConfigOption = None,
    dataset: Annotated[str | None, typer.Option(help="Known name or folder.")] = None,
    method: Annotated[
        str | None,
        typer.Option(help="`privfedmm methods` lists them; default gfmfr, with --dp-epsilon "
                     "group_statistics."),
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="`privfedmm backbones` lists them.")] = None,
    mode: Annotated[str | None, typer.Option(help="default or reference.")] = None,
    modalities: Annotated[
        str | None, typer.Option(help="all, none, or names with commas: text,image.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds at most.")] = None,
    patience: Annotated[int | None, typer.Option(
        help="Rounds in a row without a better validation ndcg@50 after which training stops; 0: "
        "never. Under a budget the rounds are fixed.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything but the data.")] = None,
    k_core: Annotated[int | None, typer.Option(help="k-core filter; 0 for none.")] = None,
    aggregation: Annotated[str | None, typer.Option(
        help="How updates are summed: plain, masked, or another of `privfedmm aggregators`.")
    ] = None,
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
    dataset_budget: Annotated[
        float | None,
        typer.Option(help="Epsilon that all private runs on these users may cost, from now on.")
    ] = None,
    accept_changed_code: Annotated[
        bool, typer.Option("--accept-changed-code", help="With --resume: go on though the code of "
                           "a private run has changed; its ledger says so.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Train, evaluate and leave a record."""
    # Imported when the command runs: --help must not wait for them.
    from experiments.cli.progress import RunProgress, summary
    from privfedmm.base.interrupts import resumable
    from privfedmm.config import resolve
    from privfedmm.runs import run as runs

    console = errors()
    flags: dict[str, Any] = {
        "dataset": dataset, "method": method, "algorithm.model.backbone": backbone, "mode": mode,
        "rounds": rounds, "evaluation.patience": patience, "seed": seed,
        "k_core": k_core, "aggregation": aggregation,
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
        folder, rounds_ = resume, runs.rounds_of(resume)
        with RunProgress(console, rounds_) as progress:
            record = resumable(
                lambda: runs.resume(folder, progress, accept_changed_code), folder)
    else:
        resolved = resolve(config, flags)
        folder = folder_of(out, resolved)
        with RunProgress(console, resolved.rounds) as progress:
            record = resumable(
                lambda: runs.start(
                    resolved, folder, progress, progress.announce, reporter(console),
                    dataset_budget), folder)
    if json_:
        print(json.dumps({**record, "folder": str(folder)}))
    else:
        summary(console, record, str(folder))
