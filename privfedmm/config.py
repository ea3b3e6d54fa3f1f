"""The configuration of a run: TOML file, then flags, then defaults; unknown keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, ValidationError

from privfedmm.encoders import EncoderSettings
from privfedmm.errors import UserError
from privfedmm.settings import (
    PRIVATE_ROUNDS,
    AlgorithmSettings,
    Settings,
    default_settings,
    private_updates,
    reference_settings,
)
from privfedmm.statistics import StatisticsSettings

Method = Literal["gfmfr", "backbone", "local", "group_statistics", "taste", "popularity",
                 "popularity_profile"]
SUBSPACE_RANK = 64  # of the groups' item updates, where they are sent in full length
STATISTICS: dict[str, dict[str, Any]] = {
    "group_statistics": {},
    "taste": {"groups": 0, "association_rank": 0, "recent_weight": 0.7},
    "popularity_profile": {"groups": 0, "association_rank": 0, "personal": "cosine"},
    "popularity": {"groups": 0, "association_rank": 0, "personal": "none"},
}


class EvaluationSettings(Settings):
    """How a run is judged. `sampled_negatives` 0 ranks all items."""

    every: Annotated[int, Field(ge=1)] = 1
    sampled_negatives: Annotated[int, Field(ge=0)] = 0
    patience: Annotated[int, Field(ge=0)] = 0  # evaluations without a better one; 0: never stop


class DPSettings(Settings):
    """Differential privacy: what is promised, and with what mechanism. No promise is a default."""

    epsilon: Annotated[float, Field(gt=0)]  # inf: clip, but add no noise and promise nothing
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None  # None: min(1e-5, users^-1.1)
    # interaction: each device adds noise while it trains, against the server too; gfmfr, backbone.
    unit: Literal["user", "interaction"] = "user"
    trust: Literal["central", "local", "distributed"] = "central"
    sampling: Literal["everyone", "poisson", "fixed"] = "everyone"
    sampling_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    # adaptive: starts at clip_norm and follows a quantile of the clients' norms.
    clipping: Literal["fixed", "adaptive"] = "fixed"
    clip_quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    clip_learning_rate: Annotated[float, Field(gt=0)] = 0.2
    clip_smallest: Annotated[float, Field(gt=0)] | None = None  # None: clip_norm / 100
    clip_largest: Annotated[float, Field(gt=0)] | None = None  # None: clip_norm * 100
    clip_bit_stddev: Annotated[float, Field(gt=0)] | None = None  # None: cohort / 20
    # csprng: from the operating system, no run can be repeated. simulation: from the seed.
    noise: Literal["csprng", "simulation"] = "csprng"
    subspace_rank: Annotated[int, Field(ge=0)] = 64  # gfmfr, backbone: 0 for the whole table


class SecureSettings(Settings):
    """Secure aggregation: how much is tolerated, and how fine the integers are."""

    # full: keys, masks and shares are really made. ring: the same integers summed without them.
    mode: Literal["full", "ring"] = "full"
    # Without dp: uploads longer than this are shortened to it, so that their sum fits the ring.
    clip_norm: Annotated[float, Field(gt=0)] = 64.0
    # Steps in a clip norm. None: 4096 under a budget, else as many as the ring holds.
    levels: Annotated[int, Field(ge=16, le=2**22)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=0.5)] = 0.1  # share of a cohort that may vanish
    colluding: Annotated[float, Field(ge=0, lt=0.5)] = 0.05  # share that may side with the server
    failure_bits: Annotated[int, Field(ge=10, le=128)] = 20  # -log2 of a stated chance of failure
    scheme: Literal["bfv", "ckks"] = "bfv"  # group_statistics = encrypted; bfv is exact
    simulated_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share that does vanish


class RunConfig(Settings):
    """One run, fully resolved."""

    dataset: str = "planted"
    k_core: Annotated[int, Field(ge=0)] = 5
    split_seed: int = 0
    label: str = ""  # names the run in tables
    series: str = ""  # names the curve over epsilon that the run is a point of
    max_users: Annotated[int, Field(ge=0)] = 0  # a random part of the users; 0: all
    cold_items: Annotated[float, Field(ge=0, lt=1)] = 0.0  # share of items held out of training
    # Share of items that lose each modality, at random: to measure what absence costs.
    drop_features: Annotated[float, Field(ge=0, lt=1)] = 0.0
    encoders: EncoderSettings = EncoderSettings()  # for a folder without feature files
    method: Method = "gfmfr"
    mode: Literal["default", "reference"] = "default"
    rounds: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    aggregation: Literal["plain", "masked"] = "plain"
    group_statistics: Literal["plain", "masked", "encrypted"] | None = None  # None: as aggregation
    secure: SecureSettings = SecureSettings()
    threads: Annotated[int, Field(ge=1)] = 1
    baselines: tuple[str, ...] = ("random", "popularity", "public_features",
                                  "popularity_profile", "ease")
    evaluation: EvaluationSettings = EvaluationSettings()
    algorithm: AlgorithmSettings = AlgorithmSettings()
    statistics: StatisticsSettings = StatisticsSettings()
    dp: DPSettings | None = None


    @property
    def statistics_way(self) -> Literal["plain", "masked", "encrypted"]:
        """How group statistics travel."""
        return self.group_statistics or self.aggregation

    @property
    def is_secure(self) -> bool:
        """Whether anything is summed so that its senders stay hidden."""
        return self.aggregation != "plain" or self.statistics_way != "plain"


def resolve(file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """The config of a file (or none) with flags over it; flags with value None are not given.

    Keys of `flags` may be dotted paths. Raises UserError naming the field and the fix.
    """
    values: dict[str, Any] = {} if file is None else read_toml(file)
    for path, value in flags.items():
        if value is not None:
            _put(values, path, value)
    if isinstance(values.get("dp"), dict) and "epsilon" not in values["dp"]:
        given = ", ".join(f"dp.{name}" for name in values["dp"])
        raise UserError(f"{given}: give --dp-epsilon as well; nothing private follows without it")
    try:
        return RunConfig.model_validate(_merge(_defaults(values), values))
    except ValidationError as error:
        raise UserError(_sentence(error, file)) from error


def settled(config: RunConfig, timed: bool) -> RunConfig:
    """The config with what its defaults leave to the data, for all parties of a run.

    timed: whether it is known when interactions were.
    """
    associations = config.algorithm.associations.settled(timed)
    algorithm = config.algorithm.model_copy(update={"associations": associations})
    return config.model_copy(update={"algorithm": algorithm})


def _defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Defaults that depend on other settings: method, rounds, rates, statistics."""
    try:
        backbone = values["algorithm"]["model"]["backbone"]
    except (KeyError, TypeError):
        backbone = "mf"
    private = "dp" in values
    reference = values.get("mode", "default") == "reference"
    method = values.get("method", "group_statistics" if private and not reference else "gfmfr")
    base = reference_settings() if reference else default_settings(str(backbone))
    if _sums_in_full_length(values) and str(backbone) == "mf":
        # Every value is sent then, and one group's table after the other is most of them. In a
        # subspace mf loses nothing on validation, fedrap a tenth (docs/results).
        groups = base.groups.model_copy(update={"adapter_rank": SUBSPACE_RANK})
        base = base.model_copy(update={"groups": groups})
    out: dict[str, Any] = {"method": method, "algorithm": base.model_dump()}
    if method in STATISTICS:
        out["statistics"] = STATISTICS[method]
        out["rounds"] = 3 if method == "group_statistics" else 1
    elif private:
        # Noise grows with the root of the rounds, and with what is released beside the table.
        out["rounds"] = PRIVATE_ROUNDS
        out["algorithm"] = base.model_copy(update=private_updates(base)).model_dump()
    if private and isinstance(values["dp"], dict) and values["dp"].get("unit") == "interaction":
        out["dp"] = {"trust": "local"}
    return out


def _sums_in_full_length(values: Mapping[str, Any]) -> bool:
    return any(values.get(way, "plain") != "plain" for way in ("aggregation", "group_statistics"))


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
    values = config.model_dump(mode="json", exclude_none=True)
    if config.dp is not None:
        values["dp"]["epsilon"] = config.dp.epsilon  # JSON has no infinity, TOML has
    return tomli_w.dumps(values)


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
