"""From a TOML file and flags to a run's config: flags win over the file, the file over defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from privfedmm.base.errors import UserError
from privfedmm.config.sections import FIXED_ROUNDS, RunConfig
from privfedmm.gfmfr.method import algorithm_defaults
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.methods.entry import Asked
from privfedmm.methods.registry import METHODS

DEFAULT, PRIVATE_DEFAULT = "gfmfr", "group_statistics"  # methods where none is named
# What a run folder meant that does not say it: it is from before the setting.
_BEFORE: Mapping[str, Any] = {
    "encoders.metadata": False, "mix.on": False, "algorithm.opening.on": False,
    "statistics.shrink_popularity": False, "statistics.noiseless_rank": 0}


def resolve(
    file: Path | None, flags: Mapping[str, Any], fixed_rounds: bool = False
) -> RunConfig:
    """Return the config of a file (or none) with flags over it; flags with value None are not
    given.

    Keys of `flags` may be dotted paths. fixed_rounds: whether training does not stop early unless
    that is asked for, as under a budget. Raises UserError naming the field and the fix.
    """
    values: dict[str, Any] = {} if file is None else read_toml(file)
    for path, value in flags.items():
        if value is not None:
            _put(values, path, value)
    if isinstance(values.get("dp"), dict) and "epsilon" not in values["dp"]:
        given = ", ".join(f"dp.{name}" for name in values["dp"])
        raise UserError(f"{given}: give --dp-epsilon as well; nothing private follows without it")
    _refuse_patience(values)
    try:
        merged = _merge(_defaults(values, fixed_rounds), values)
        entry = METHODS.get(merged["method"]) if merged["method"] in METHODS else None
        if entry is not None and entry.section == "settings":
            try:
                merged["settings"] = entry.settings.model_validate(merged.get("settings") or {})
            except ValidationError as error:
                raise UserError(_sentence(error, file, "settings.")) from error
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise UserError(_sentence(error, file)) from error


def picked(file: Path | None, flags: Mapping[str, Any]) -> str | None:
    """Return in a sentence which method a budget picked, and why; None where the method was named,
    or the default is what it is without a budget.

    file, flags: as of `resolve`, whose errors it leaves to it.
    """
    values = {} if file is None else read_toml(file)
    given = {path.partition(".")[0] for path, value in flags.items() if value is not None}
    if "method" in values or "method" in given:
        return None
    config = resolve(file, flags)
    if config.dp is None or config.method == DEFAULT:
        return None
    return (f"method: {config.method}, since a budget is given and no method is named: it releases "
            f"a few sums in place of a model every round, and under noise that serves better "
            f"here; for the other give --method {DEFAULT}")


def resolve_saved(file: Path) -> RunConfig:
    """Return the config of a run folder, as the run meant it (`as_meant`).

    Raises UserError as `resolve` does.
    """
    return resolve(file, _unsaid(read_toml(file)))


def as_meant(values: Mapping[str, Any]) -> RunConfig:
    """Return the config of a run from its nested values, as the run meant it.

    A budget that names no catalogue is of a run from before there was one: its items were made from
    interactions. Its patience, which used to be allowed and had no effect, is none. Of settings
    that are not in it, because there were none yet, some have defaults that would change what the
    run was (_BEFORE). Raises UserError as `resolve` does.
    """
    # A copy: dotted paths are written into the sections that are there.
    return resolve(None, {**deepcopy(dict(values)), **_unsaid(values)})


def _unsaid(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a run from an earlier version meant that it does not say, by dotted path."""
    meant = {path: value for path, value in _BEFORE.items() if not _said(values, path)}
    if isinstance(values.get("dp"), Mapping):
        meant["evaluation.patience"] = 0
        if "catalogue" not in values["dp"]:
            meant["dp.catalogue"] = "from_interactions"
    return meant


def settled(config: RunConfig, timed: bool) -> RunConfig:
    """Return the config with what its defaults leave to the data, for all parties of a run.

    timed: whether it is known when interactions were.
    """
    return config.with_method_settings(config.entry.timed(config.method_settings, timed))


def _refuse_patience(values: Mapping[str, Any]) -> None:
    """Refuse to stop a private run early. Raises UserError."""
    judged = values.get("evaluation")
    if "dp" in values and isinstance(judged, Mapping) and judged.get("patience"):
        raise UserError(
            "evaluation.patience: under a budget the number of rounds is part of what is promised, "
            "and stopping by what a round told would be a release; leave patience out, or set it "
            "to 0, and set rounds")


def _defaults(values: dict[str, Any], fixed_rounds: bool) -> dict[str, Any]:
    """Defaults that depend on other settings: method, rounds, patience, rates, statistics."""
    private, dp = "dp" in values, values.get("dp")
    asked = Asked(values, private, _sums_in_full_length(values),
                  values.get("mode", "default") == "reference")
    method = values.get(
        "method", PRIVATE_DEFAULT if private and not asked.reference else DEFAULT)
    out: dict[str, Any] = {"method": method, "algorithm": algorithm_defaults(asked).model_dump()}
    if fixed_rounds or private or asked.reference:
        out |= {"rounds": FIXED_ROUNDS, "evaluation": {"patience": 0}}
    if method not in METHODS:
        return out  # refused, with the names there are, when the config is validated
    if asked.reference:
        out["encoders"] = {"metadata": False}  # the reference reads files of features alone
    entry = METHODS.get(method)
    out |= entry.defaults(asked)
    if private and isinstance(dp, dict):
        more: dict[str, Any] = out.setdefault("dp", {})
        if dp.get("unit") == "interaction":
            more.setdefault("trust", "local")
        if not entry.can.public_subspace:
            more.setdefault("subspace_rank", 0)
    return out


def _sums_in_full_length(values: Mapping[str, Any]) -> bool:
    ways = [values.get(way, "plain") for way in ("aggregation", "group_statistics")]
    return any(way in AGGREGATORS and AGGREGATORS.get(way).hides_clients for way in ways)


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file as a dictionary. Raises UserError where it is absent or malformed."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"--config: there is no file {file}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"--config: {file} is not valid TOML ({error}); correct it") from error


def to_toml(config: RunConfig) -> str:
    """Return the config as TOML text that `resolve` reads back to the same config."""
    values = config.model_dump(mode="json", exclude_none=True)
    if config.dp is not None:
        values["dp"]["epsilon"] = config.dp.epsilon  # JSON has no infinity, TOML has
    return tomli_w.dumps(values)


def _said(values: Mapping[str, Any], path: str) -> bool:
    """Whether there is a value at a path."""
    head, _, rest = path.partition(".")
    if not rest:
        return head in values
    inner = values.get(head)
    return isinstance(inner, Mapping) and _said(inner, rest)


def _put(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {path}: {parent} is a value, not a section")
    values[leaf] = value


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def _sentence(error: ValidationError, file: Path | None, section: str = "") -> str:
    first = error.errors()[0]
    field = section + ".".join(str(part) for part in first["loc"]) or "config"
    where = f" (in {file.name} or the flags)" if file else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such setting{where}; check the spelling or remove it"
    if first["type"] == "value_error":
        return f"{field}: {message}{where}"
    return f"{field}: {message}, got {first['input']!r}{where}; correct the value"
