"""`privfedmm bench ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.arguments import show
from experiments.cli.choices import Registered
from experiments.cli.common import JsonOption, wrote


def bench_round(
    dataset: Annotated[str, typer.Option(help="Known name or folder.")] = "planted",
    backbone: Annotated[str, typer.Option(
        help="`privfedmm backbones` lists them.", click_type=Registered("backbones"))] = "mf",
    epochs: Annotated[int, typer.Option(help="Local epochs.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Time a vectorised round against a loop over clients with torch modules and autograd."""
    from experiments.benchmarks.round import bench

    show(bench(dataset, backbone, epochs, seed), json_)


def bench_dp(
    dataset: Annotated[str, typer.Option(help="Known name or folder.")] = "planted",
    epsilon: Annotated[float, typer.Option(help="Of the private run.")] = 2.0,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; the fastest counts.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Time rounds with differential privacy against the same rounds without."""
    from experiments.benchmarks.private import bench

    show(bench(dataset, epsilon, repeats, seed), json_)


def bench_secagg(
    dataset: Annotated[str, typer.Option(help="Known name or folder.")] = "planted",
    clients: Annotated[
        str, typer.Option(help="Sizes of the table, with commas.")] = "100,943,5000",
    dims: Annotated[int, typer.Option(help="Values of a vector in the table.")] = 5000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Time masked rounds against plain ones, and the protocol alone over sizes and dropouts."""
    from experiments.benchmarks.secagg import bench

    show(bench(dataset, [int(n) for n in clients.split(",")], dims, seed), json_)


def bench_encrypted(
    clients: Annotated[str, typer.Option(help="Sizes, with commas.")] = "943,5000",
    groups: Annotated[int, typer.Option(min=1, help="Groups in the statistics.")] = 5,
    rank: Annotated[int, typer.Option(min=1, help="Public components of a group's table.")] = 32,
    dim: Annotated[int, typer.Option(min=1, help="Width of a table.")] = 32,
    json_: JsonOption = False,
) -> None:
    """Time encryption, addition and decryption of group statistics."""
    from experiments.benchmarks.encrypted import bench

    show(bench([int(n) for n in clients.split(",")], groups, rank, dim), json_)


def bench_deploy(
    nodes: Annotated[str, typer.Option(help="Numbers of nodes, with commas.")] = "3,10",
    users: Annotated[int, typer.Option(min=30, help="Users of the planted set.")] = 60,
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/bench-deploy"),
    json_: JsonOption = False,
) -> None:
    """Seconds and bytes a round of real deployments on loopback, and where they go."""
    from experiments.benchmarks.deploy import bench

    show(bench([int(n) for n in nodes.split(",")], users, out), json_)
    wrote(out)
