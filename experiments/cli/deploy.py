"""`privfedmm deploy ...`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.cli.arguments import overrides, show
from experiments.cli.choices import NOISES, TRUSTS, Registered, one_of
from experiments.cli.common import ConfigOption, JsonOption, SetOption, errors, reporter, wrote
from experiments.cli.progress import RunProgress
from privfedmm.base.errors import INTERRUPTED, UserError

DatasetOption = Annotated[str | None, typer.Option(help="Known name or folder.")]
MethodOption = Annotated[
    str | None, typer.Option(help="As for run.", click_type=Registered("methods"))]
RoundsOption = Annotated[int | None, typer.Option(help="Rounds at most.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed of everything but the data.")]
AggregationOption = Annotated[
    str | None, typer.Option(help="As for run.", click_type=Registered("aggregators"))]
StatisticsOption = AggregationOption
EpsilonOption = Annotated[float | None, typer.Option(help="Budget, as for run.")]
TrustOption = Annotated[
    str | None, typer.Option(help="Who adds the noise.", click_type=one_of(TRUSTS))]
NoiseOption = Annotated[
    str | None, typer.Option(help="As for run.", click_type=one_of(NOISES))]
RunArgument = Annotated[Path, typer.Argument(help="The operator's run folder.")]
_WAIT = 120.0


def _flags(settings: list[str] | None, **named: Any) -> dict[str, Any]:
    dp = {"epsilon": named.pop("dp_epsilon"), "trust": named.pop("trust"),
          "noise": named.pop("noise")}
    return {**named, **{f"dp.{name}": value for name, value in dp.items()}, **overrides(settings)}


def _tell(line: str) -> None:
    print(line, flush=True)


def _here(way: str, explained: str) -> Callable[..., None]:
    """A command that plays a whole deployment on this machine."""

    def deploy(
        config: ConfigOption = None, dataset: DatasetOption = None, method: MethodOption = None,
        rounds: RoundsOption = None, seed: SeedOption = None,
        aggregation: AggregationOption = None, group_statistics: StatisticsOption = None,
        dp_epsilon: EpsilonOption = None, trust: TrustOption = None, noise: NoiseOption = None,
        settings: SetOption = None,
        nodes: Annotated[
            int | None, typer.Option(help="Nodes that share the users; default 3.")] = None,
        wait: Annotated[float | None, typer.Option(help="Seconds an exchange may take.")] = None,
        out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
        resume: Annotated[Path | None, typer.Option(help="Continue a deployment.")] = None,
        json_: JsonOption = False,
    ) -> None:
        from experiments.cli.deploy_local import play

        flags = _flags(
            settings, dataset=dataset, method=method, rounds=rounds, seed=seed,
            aggregation=aggregation, group_statistics=group_statistics, dp_epsilon=dp_epsilon,
            trust=trust, noise=noise)
        play(errors(), way, config, flags, nodes, wait, out, resume, json_)

    deploy.__doc__ = explained
    return deploy


local = _here(
    "local", "SuperLink, SuperNodes and the run on this machine, with TLS and authenticated nodes.")
simulated = _here(
    "simulated", "The same app under Flower's simulation, with the extra 'simulation' (Ray).")


def invite(
    host: Annotated[
        str, typer.Option(help="Name or address of this machine, as nodes reach it; :port after "
                          "it, else 8443.")],
    config: ConfigOption = None, dataset: DatasetOption = None, method: MethodOption = None,
    rounds: RoundsOption = None, seed: SeedOption = None, aggregation: AggregationOption = None,
    group_statistics: StatisticsOption = None, dp_epsilon: EpsilonOption = None,
    trust: TrustOption = None, noise: NoiseOption = None, settings: SetOption = None,
    users: Annotated[
        str | None, typer.Option(help="Users of each node: 12,15,9. A folder needs it.")] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Nodes that share a known data set evenly.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default under runs/.")] = None,
) -> None:
    """Operator, 1: the public terms of a run, certificates, and a file to hand out."""
    from experiments.cli.deploy_parties import invite_all

    flags = _flags(
        settings, dataset=dataset, method=method, rounds=rounds, seed=seed,
        aggregation=aggregation, group_statistics=group_statistics, dp_epsilon=dp_epsilon,
        trust=trust, noise=noise)
    invite_all(config, flags, users, nodes, host, out, reporter(errors()), _tell)


def join(
    invitation: Annotated[Path, typer.Argument(help="The file that the operator handed out.")],
    node: Annotated[int | None, typer.Option(help="Number of this node, from 0.")] = None,
    keyholder: Annotated[
        bool, typer.Option("--keyholder", help="This is the key holder.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder with this node's interactions.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; default shard-K or keyholder.")] = None,
) -> None:
    """Node or key holder, 2: keys of its own, and an answer to hand back."""
    from experiments.cli.deploy_parties import join_one

    join_one(invitation, node, keyholder, data, out, _tell)


def settle(
    folder: RunArgument,
    answers: Annotated[list[Path], typer.Argument(help="One answer of each party.")],
) -> None:
    """Operator, 3: the directory of everyone's verify keys, and its fingerprint."""
    from experiments.cli.deploy_parties import settle_run

    settle_run(folder, answers, _tell)


def accept(
    known: Annotated[Path, typer.Argument(help="The directory that the operator handed out.")],
    folder: Annotated[Path, typer.Option(help="The folder that join made.")],
    fingerprint: Annotated[
        str | None, typer.Option(help="As the other owners told it, not the operator.")] = None,
) -> None:
    """Node or key holder, 4: take in the directory, if it is the one that all others have."""
    from experiments.cli.deploy_parties import accept_one

    accept_one(known, folder, fingerprint, _tell)


def node(
    folder: Annotated[Path, typer.Argument(help="The folder that join made.")],
    experiment: Annotated[
        bool, typer.Option("--experiment", help="Report loss, ranks and groups of this node's "
                           "users. No claim covers them.")] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print Flower's command and do not run it.")] = False,
) -> None:
    """Node or key holder, 5: its SuperNode, until Ctrl-C."""
    from experiments.deployment.hosting import command, host, shown

    if print_:
        _tell(shown(folder, command(folder, experiment)))
        return
    try:
        host(folder, experiment, _tell)
    except KeyboardInterrupt:
        raise UserError(f"stopped; start the node again with: privfedmm deploy node {folder}",
                        INTERRUPTED) from None


def serve(
    folder: RunArgument,
    wait: Annotated[
        float, typer.Option(help="Seconds for nodes to come, and for one message.")] = _WAIT,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that has begun.")] = False,
    json_: JsonOption = False,
) -> None:
    """Operator, 6: SuperLink, registration of the nodes, and the rounds of the run."""
    from experiments.deployment.serving import COMMAND, serve
    from privfedmm.base.interrupts import resumable
    from privfedmm.runs.shape import rounds_of

    console = errors()
    console.keep(folder)
    with RunProgress(console, rounds_of(folder)) as progress:
        found = resumable(lambda: serve(folder, wait, resume, progress), folder, COMMAND)
    show(found, json_)
    wrote(folder)


def budget(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of nodes, or one that holds some.")],
    json_: JsonOption = False,
) -> None:
    """Owner of a node: what its users have spent by the node's own ledger, run by run."""
    from experiments.cli.tables import show_books
    from experiments.deployment.books import books

    show_books(books(folders), json_)
