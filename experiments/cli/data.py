"""`privfedmm data ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.arguments import overrides
from experiments.cli.common import (
    AllowMissingOption,
    ColumnsOption,
    DuplicatesOption,
    JsonOption,
    KCoreOption,
    MinRatingOption,
    SetOption,
    errors,
    reporter,
    wrote,
)
from privfedmm.base.errors import UserError


def data_list() -> None:
    """Known data sets."""
    from privfedmm.data import available

    for name, what in available().items():
        print(f"{name:10} {what}")


def data_get(
    name: Annotated[str, typer.Argument(help="A known data set that `data list` says to fetch.")],
) -> None:
    """Fetch a data set into the cache and print its licence terms."""
    from privfedmm.data import SOURCES, DataError, default_cache, find_source

    found = find_source(name)
    fetch = found[0].fetch if found else None
    if fetch is None:
        known = ", ".join(source.name for source in SOURCES if source.fetch)
        raise UserError(f"data get: {name!r} cannot be fetched; what can be: {known}")
    try:
        folder = fetch.into(default_cache())
    except DataError as error:
        raise UserError(f"data get: {error}") from error
    print(f"{name} is in {folder}\n\n{fetch.terms}")
    print(f"\nTo train on it:\n  privfedmm run --dataset {name}")
    if fetch.study:
        print(f"README's table of it (methods, privacy, seeds; docs/results):\n  {fetch.study}")
    wrote(folder)


def data_check(
    dataset: Annotated[str, typer.Argument(help="Known name, folder or file, as for run.")],
    columns: ColumnsOption = None,
    min_rating: MinRatingOption = None,
    duplicates: DuplicatesOption = None,
    k_core: KCoreOption = None,
    settings: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """What a run would read of a data set, drop, filter, ignore and guess; nothing is encoded."""
    from experiments.cli.check import check, picture

    found = check(dataset, {"columns": columns, "min_rating": min_rating,
                            "duplicates": duplicates, "k_core": k_core, **overrides(settings)})
    if json_:
        print(json.dumps(found))
        return
    for line in found["sentences"]:
        print(line)
    for line in picture(found):
        print(line)


def data_encode(
    folder: Annotated[Path, typer.Argument(help="Folder with items.csv and images/ or a zip.")],
    text_model: Annotated[
        str | None, typer.Option(help="minilm, hashing, none, a model folder or a hub name.")
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="efficientnet-lite0, histogram, none, a model folder or a hub name."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Items a batch.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    allow_missing: AllowMissingOption = None,
    columns: ColumnsOption = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch a hub name that is not on this machine.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    json_: JsonOption = False,
) -> None:
    """Encode texts and pictures into the feature cache, where a run finds them."""
    from experiments.cli.encode import encode_folder
    from privfedmm.runs.record import set_threads

    set_threads(threads)
    given = {"text_model": text_model, "image_model": image_model, "batch_size": batch_size,
             "device": device, "allow_missing": allow_missing}
    result = encode_folder(folder, given, download, reporter(errors()), columns)
    if json_:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:12} {value}")
    wrote(Path(result["cache"]))
