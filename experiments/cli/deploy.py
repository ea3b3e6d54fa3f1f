"""`privfedmm deploy local`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.arguments import overrides
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors


def local(
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
    play(errors(), config, flags, nodes, wait, out, resume, json_)
