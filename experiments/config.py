"""The configuration of a run: TOML file, then flags, then defaults; unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError

from experiments.errors import UserError
from privfedmm.settings import (
    AlgorithmSettings,
    Settings,
    default_settings,
    reference_settings,
)

Method = Literal["gfmfr", "backbone", "local"]


class EvaluationSettings(Settings):
    """How a run is judged. `sampled_negatives` 0 ranks all items."""

    every: Annotated[int, Field(ge=1)] = 1
    sampled_negatives: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=0)] = 0  # evaluations without a better one; 0: never stop


class RunConfig(Settings):
    """One run, fully resolved."""

    dataset: str = "planted"
    k_core: Annotated[int, Field(ge=0)] = 5
    split_seed: int = 0
    label: str = ""  # names the run in tables
    method: Method = "gfmfr"
    mode: Literal["default", "reference"] = "default"
    rounds: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    aggregation: Literal["plain"] = "plain"
    threads: Annotated[int, Field(ge=1)] = 1
    baselines: tuple[str, ...] = ("random", "popularity", "public_features",
                                  "popularity_profile", "ease")
    evaluation: EvaluationSettings = EvaluationSettings()
    algorithm: AlgorithmSettings = AlgorithmSettings()


def resolve(file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """The config of a file (or none) with flags over it; flags with value None are not given.

    Keys of `flags` may be dotted paths. Raises UserError naming the field and the fix.
    """
    values: dict[str, Any] = {} if file is None else read_toml(file)
    for path, value in flags.items():
        if value is not None:
            _put(values, path, value)
    try:
        backbone = values["algorithm"]["model"]["backbone"]
    except (KeyError, TypeError):
        backbone = "mf"
    reference = values.get("mode", "default") == "reference"
    base = reference_settings() if reference else default_settings(str(backbone))
    values = _merge({"algorithm": base.model_dump()}, values)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(_sentence(error, file)) from error


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises UserError where it is absent or malformed."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"--config: there is no file {file}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"--config: {file} is not valid TOML ({error}); correct it") from error


def to_toml(config: RunConfig) -> str:
    """The config as TOML text that `resolve` reads back to the same config."""
    return tomli_w.dumps(config.model_dump(mode="json"))


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


def _sentence(error: ValidationError, file: Path | None) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "config"
    where = f" (in {file.name} or the flags)" if file else ""
    if first["type"] == "extra_forbidden":
        return f"{field}: there is no such setting{where}; check the spelling or remove it"
    return f"{field}: {first['msg']}, got {first['input']!r}{where}; correct the value"
