"""The command line. The only package that reads arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from experiments.cli import bench, budget, data, deploy, judge, lists, release
from experiments.cli.command import Command
from experiments.cli.demo import demo
from experiments.cli.run import run
from privfedmm.base.errors import BAD_INPUT, UserError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Privacy-hardened federated multimodal recommendation.",
)
data_app = typer.Typer(no_args_is_help=True, help="Data sets.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks.")
deploy_app = typer.Typer(no_args_is_help=True)
config_app = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(data_app, name="data")
app.add_typer(config_app, name="config")
app.add_typer(bench_app, name="bench")
app.add_typer(deploy_app, name="deploy")

_APP: dict[str, Callable[..., None]] = {
    "run": run, "demo": demo, "release": release.release, "budget": budget.budget,
    "recommend": release.recommend,
    "compare": judge.compare, "audit": judge.audit,
    "sweep": judge.sweep, "report": judge.report,
    **{kind: lists.lister(kind) for kind in lists.KINDS}}
_DATA: dict[str, Callable[..., None]] = {
    "list": data.data_list, "get": data.data_get, "encode": data.data_encode}
_BENCH: dict[str, Callable[..., None]] = {
    "round": bench.bench_round, "dp": bench.bench_dp, "secagg": bench.bench_secagg,
    "encrypted": bench.bench_encrypted, "patience": bench.bench_patience,
    "builtin": bench.bench_builtin, "deploy": bench.bench_deploy}
_DEPLOY: dict[str, Callable[..., None]] = {
    "local": deploy.local, "simulated": deploy.simulated, "invite": deploy.invite,
    "join": deploy.join, "settle": deploy.settle, "accept": deploy.accept, "node": deploy.node,
    "serve": deploy.serve, "budget": deploy.budget}
_CONFIG: dict[str, Callable[..., None]] = {"explain": lists.config_explain}


@deploy_app.callback()
def _with_flower() -> None:
    """The same runs on Flower."""
    from privacy.extras import check

    check("flwr", "deploy", "deploy")


for group, commands in ((app, _APP), (data_app, _DATA), (config_app, _CONFIG),
                        (bench_app, _BENCH), (deploy_app, _DEPLOY)):
    for name, command in commands.items():
        group.command(name, cls=Command)(command)


def main() -> None:
    """Run the command line. A user's error is one sentence on standard error and an exit code."""
    try:
        app(standalone_mode=True)
    except UserError as error:
        print(f"privfedmm: {error}", file=sys.stderr)
        sys.exit(error.code)
    except ImportError as error:
        from privacy.extras import MissingExtra  # the package is loaded where one was raised

        if not isinstance(error, MissingExtra):
            raise
        print(f"privfedmm: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
