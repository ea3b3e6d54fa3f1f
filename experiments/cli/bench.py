"""`privfedmm bench ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.arguments import numbers, show
from experiments.cli.choices import Registered
from experiments.cli.common import JsonOption, errors, wrote
from privfedmm.base.errors import UserError


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


def bench_patience(
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Known names or folders; none: only the table.")
    ] = None,
    curves: Annotated[
        Path, typer.Option(help="Folder of the curves.")] = Path("runs/patience"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of a curve.")] = 200,
    seeds: Annotated[str, typer.Option(help="With commas.")] = "1,2",
    out: Annotated[Path | None, typer.Option(help="Markdown file; default: print.")] = None,
) -> None:
    """What stopping early loses and saves, by patience, from whole validation curves of gfmfr."""
    from experiments.benchmarks.patience import bench
    from privfedmm.base.files import write_text

    console = errors()
    text = bench(datasets or [], numbers(seeds), rounds, curves,
                 lambda line: console.print(line, highlight=False))
    if out is None:
        print(text)
    else:
        write_text(out, text)


def bench_builtin(
    dataset: Annotated[str, typer.Option(help="cinema or planted.")] = "cinema",
    seeds: Annotated[str, typer.Option(help="Of the methods, with commas.")] = "1,2,3",
    draws: Annotated[
        str, typer.Option(help="Data seeds of other draws, with commas; none: ''.")
    ] = "31,32,33,34",
) -> None:
    """Every line on the built-in data, and on other draws from the same generator."""
    from experiments.benchmarks.builtin import DRAWS, bench

    if dataset not in DRAWS:
        raise UserError(f"--dataset: {dataset!r} is not built in; choose {' or '.join(DRAWS)}")
    console = errors()
    print(bench(dataset, numbers(seeds), numbers(draws),
                lambda line: console.print(line, highlight=False)), end="")


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
