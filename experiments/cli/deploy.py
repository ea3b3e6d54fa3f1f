"""`privfedmm deploy local` and `deploy simulated`: one set of options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.arguments import overrides
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors


def _command(way: str, explained: str) -> Callable[..., None]:
    def deploy(
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
        nodes: Annotated[int | None, typer.Option(help="Nodes that share the users.")] = None,
        wait: Annotated[float | None, typer.Option(help="Seconds an exchange may take.")] = None,
        out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
        resume: Annotated[Path | None, typer.Option(help="Continue a deployment.")] = None,
        json_: JsonOption = False,
    ) -> None:
        from experiments.deployment.command import play

        flags: dict[str, Any] = {
            "dataset": dataset, "method": method, "rounds": rounds, "seed": seed,
            "aggregation": aggregation, "group_statistics": group_statistics,
            "dp.epsilon": dp_epsilon, "dp.trust": trust, "dp.noise": noise,
            **overrides(settings),
        }
        play(errors(), way, config, flags, nodes, wait, out, resume, json_)

    deploy.__doc__ = explained
    return deploy


local = _command(
    "local", "SuperLink, SuperNodes and the run on this machine, with TLS and authenticated nodes.")
simulated = _command(
    "simulated", "The same app under Flower's simulation, with the extra 'simulation' (Ray).")
