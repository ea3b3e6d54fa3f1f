"""The command line. The only package that reads arguments."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from click import ClickException, UsageError
from click.exceptions import NoArgsIsHelpError

from experiments.cli import bench, budget, data, deploy, history, judge, lists, release
from experiments.cli.command import Command
from experiments.cli.demo import demo
from experiments.cli.run import run
from experiments.cli.talk import loud
from experiments.cli.tune import tune
from privfedmm import __version__
from privfedmm.base.errors import BAD_INPUT, INTERRUPTED, UserError

NAME = "privfedmm"
app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False,
    suggest_commands=False)  # click does
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
    "sweep": judge.sweep, "tune": tune, "report": judge.report,
    "history": history.history,
    **{kind: lists.lister(kind) for kind in lists.KINDS}}
_DATA: dict[str, Callable[..., None]] = {
    "list": data.data_list, "get": data.data_get, "check": data.data_check,
    "encode": data.data_encode}
_BENCH: dict[str, Callable[..., None]] = {
    "round": bench.bench_round, "dp": bench.bench_dp, "secagg": bench.bench_secagg,
    "encrypted": bench.bench_encrypted, "patience": bench.bench_patience,
    "builtin": bench.bench_builtin, "deploy": bench.bench_deploy}
_DEPLOY: dict[str, Callable[..., None]] = {
    "local": deploy.local, "simulated": deploy.simulated, "invite": deploy.invite,
    "join": deploy.join, "settle": deploy.settle, "accept": deploy.accept, "node": deploy.node,
    "serve": deploy.serve, "budget": deploy.budget}
_CONFIG: dict[str, Callable[..., None]] = {"explain": lists.config_explain}


def _version(asked: bool) -> None:
    if asked:
        print(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _privfedmm(
    version: Annotated[bool, typer.Option(
        "--version", is_eager=True, callback=_version, help="Print the version.")] = False,
    quiet: Annotated[bool, typer.Option(
        "--quiet", "-q", callback=loud, help="Show results and errors only.")] = False,
    verbose: Annotated[bool, typer.Option(
        "--verbose", "-v", callback=loud,
        help="Show details as well, and where an error came from.")] = False,
) -> None:
    """Privacy-hardened federated multimodal recommendation."""


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="replace")
    sentence, code = "", BAD_INPUT
    try:
        code = app(standalone_mode=False, prog_name=NAME) or 0
        sentence = "stopped" if code == INTERRUPTED else ""
    except NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except ClickException as error:
        sentence = _parsed(error)
    except OSError as error:
        from privfedmm.runs.folder import DISK  # the package is loaded where something was written

        if error.errno not in DISK:
            raise
        sentence = (f"{error.filename or 'a file'} cannot be opened or written "
                    f"({error.strerror}); make room, or name another place")
    except UserError as error:
        sentence, code = str(error), error.code
    except KeyboardInterrupt:
        sentence, code = "stopped", INTERRUPTED
    except ImportError as error:
        from privacy.extras import MissingExtra  # the package is loaded where one was raised

        if not isinstance(error, MissingExtra):
            raise
        sentence = str(error)
    if sentence:
        print(f"{NAME}: {sentence}", file=sys.stderr)
    if code:
        sys.exit(code)


def _parsed(error: ClickException) -> str:
    """What the parser refused, and where it says what it takes."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, UsageError) else None
    return f"{said}; see {context.command_path} --help" if context else said
