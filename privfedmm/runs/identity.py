"""What makes two runs the same: their settings, their data, and nothing else.

A label names a run for people, and two runs may have one; figures are put together by identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privacy.commitment import canonical
from privfedmm.base.errors import UserError
from privfedmm.config import RunConfig, as_meant, read_toml, resolve, resolve_saved, settled
from privfedmm.runs.binding import CONFIG
from privfedmm.runs.differences import differing, flat, plain_config, was_is

# Where the data lie, and what is computed beside a run, is no part of what it is.
BESIDE = ("dataset", "threads", "baselines")
SEED = "seed"
# Settings that others have their defaults from.
_LEADING = ("dataset", "method", "mode", "aggregation", "group_statistics", "dp.epsilon", "dp.unit",
            "algorithm.model.backbone")
_NAMES = ("label", "series", SEED, *BESIDE)


def identity(settings: Mapping[str, Any], data_hash: str, seeds_apart: bool = True) -> str:
    """Return the SHA-256 over resolved settings and the data's digest, as hex.

    settings: flat, as of `settings_of`. seeds_apart: whether runs that differ in the seed alone
    are two.
    """
    left_out = BESIDE if seeds_apart else (*BESIDE, SEED)
    what = {name: value for name, value in settings.items() if name not in left_out}
    return hashlib.sha256(canonical({"settings": what, "data": data_hash})).hexdigest()


def settings_of(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the resolved settings of a finished run by dotted path.

    Records of earlier versions do not hold them; they are read from the run's config.toml. What a
    later version has added is as the run meant it, or has its default. Raises UserError where there
    is nothing to read.
    """
    values = dict(record["config"]) if "config" in record else read_toml(folder / CONFIG)
    try:
        return flat(plain_config(as_meant(values)))
    except UserError:  # a method that is not installed here, or a setting that is no more
        return flat(values)


def chosen(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of flat settings that are not what their method has by default.

    Method and budget are always among them. Names, seed and place of the data are not.
    """
    leading = {name: settings[name] for name in _LEADING if name in settings}
    names = set(differing(settings, leading))
    try:
        config, plainest = resolve(None, leading), resolve(None, {"dp.epsilon": 1.0})
        given = differing(leading, flat(plain_config(plainest)))
        # What the defaults leave to the data is no choice either.
        for usual in (config, settled(config, True), settled(config, False)):
            names &= set(differing(settings, flat(plain_config(usual))))
    except UserError:
        given = list(leading)  # a method that is not installed here: all that its config says
    names |= leading.keys() & {*given, "method", "dp.epsilon"}
    return {name: settings.get(name) for name in sorted(names) if name not in _NAMES}


def changes(folder: Path, config: RunConfig) -> list[str]:
    """Return in what a config differs from the run that a folder holds, as `was_is`; nothing where
    it holds none. Raises UserError where the folder's config cannot be read."""
    if not (folder / CONFIG).exists():
        return []
    # What the defaults left to the data stands in the folder's config as it was settled.
    meant = [config, settled(config, True), settled(config, False)]
    held = plain_config(resolve_saved(folder / CONFIG))
    return min((was_is(held, plain_config(one)) for one in meant), key=len)


def refuse_edited(folder: Path, record: Mapping[str, Any]) -> None:
    """Refuse a finished run whose config.toml is not what its record was made with.

    Raises UserError with the difference. Records of earlier versions cannot tell.
    """
    if "config" in record:
        refuse_other_settings(folder, record["config"])


def refuse_other_settings(folder: Path, began: Mapping[str, Any]) -> None:
    """Refuse a run folder whose config.toml is not what the run began with; the data may lie
    elsewhere, for their digest is checked.

    began: nested settings in plain values. Raises UserError with the difference.
    """
    try:
        was = plain_config(as_meant(began))
    except UserError:  # a setting that is no more
        was = dict(began)
    found = was_is(was, plain_config(resolve_saved(folder / CONFIG)), BESIDE[:1])
    if found:
        raise UserError(f"--resume: {CONFIG} of {folder} was edited since the run began: "
                        f"{'; '.join(found)}; put back what it was, or start a new run")
