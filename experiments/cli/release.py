"""`privfedmm release` and `privfedmm recommend`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.common import JsonOption, errors, wrote
from privfedmm.base.errors import UserError


def release(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path, typer.Argument(help="The bundle, a folder that is not there yet.")],
    no_claim: Annotated[
        bool, typer.Option("--no-claim", help="Release a run that protects nobody all the same; "
                           "the bundle says so.")
    ] = False,
) -> None:
    """Write what a run's claim covers, and nothing else, to a folder that may be given away."""
    from privfedmm.releases.bundle import release as write

    console = errors()
    write(folder, out, no_claim, lambda line: console.print(line, highlight=False))
    print(out)
    wrote(out)


def recommend(
    folder: Annotated[Path, typer.Argument(help="Run folder, or with --rows a bundle.")],
    user: Annotated[str | None, typer.Option(help="A user id of the run's data.")] = None,
    rows: Annotated[
        Path | None,
        typer.Option(help="Instead: a table of one user's own rows, which is read here only.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many items.")] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="What each score is the sum of, by modality, and why "
                           "in words.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Titles with scores for a user: of a run, or from a bundle and the user's own rows."""
    from experiments.cli.talk import results
    from privfedmm.releases.device import recommend_own
    from privfedmm.runs.recommend import recommend as find
    from privfedmm.runs.recommend import table

    if (user is None) == (rows is None):
        raise UserError("recommend: give --user ID for a run folder, or --rows FILE for a bundle")
    if rows is not None:
        result = recommend_own(folder, rows, top, explain)
    else:
        assert user is not None
        result = find(folder, user, top, explain)
    if rows is not None:
        errors().print(f"what the model claims: {result['claim'][0]}", highlight=False)
    if json_:
        print(json.dumps(result))
    else:
        console = results()
        console.print(table(result), highlight=False)
        for item in result["items"]:
            if "reason" in item:
                console.print(f"{item['rank']}. {item['reason']}", highlight=False,
                              soft_wrap=True)
