"""The sections of a run's config. Those of methods stand with the methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from privfedmm.base.settings import Settings
from privfedmm.baselines.baseline import BASELINES
from privfedmm.config.protection import DPSettings, SecureSettings
from privfedmm.config.tuned import TunedSettings
from privfedmm.data.raw import NAMES, Reading
from privfedmm.data.raw.reading import Duplicates
from privfedmm.data.types import SplitBy
from privfedmm.encoders import EncoderSettings
from privfedmm.evaluation.metrics import SHOWN, names_of
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.methods.entry import Method
from privfedmm.methods.registry import METHODS
from privfedmm.mixing.settings import MixSettings
from privfedmm.statistics import StatisticsSettings

# Chosen together on validation curves of six data sets (docs/results/early_stopping.md).
ROUNDS, PATIENCE = 200, 20
FIXED_ROUNDS = 50  # where nothing that a round tells may, or can, end the run


class EvaluationSettings(Settings):
    """This section sets how a run is judged."""

    every: Annotated[int, Field(ge=1, description="Rounds between two evaluations.")] = 1
    sampled_negatives: Annotated[int, Field(
        ge=0, description="Random items that a target is ranked against; 0: all items.")] = 0
    metrics: Annotated[tuple[str, ...], Field(
        description="Metrics in tables, as in ndcg@10 or recall@20, at any length; `privfedmm "
        "metrics` lists the names. They are recorded beside hr, ndcg and recall at 10, 20 and "
        "50.")] = SHOWN
    patience: Annotated[int, Field(
        ge=0, description="Evaluations in a row without a better validation ndcg@50 after which "
        "training stops; 0: never. Under a budget always 0.")] = PATIENCE

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("name at least one metric, as in ndcg@10")
        return names_of(names)


class RunConfig(Settings):
    """This is the config of one run, fully resolved."""

    dataset: str = Field("planted", description="Known name, folder or file.")
    columns: dict[str, str] = Field(
        {}, description="What the data calls user, item, rating, time and split, where their names "
        "are not known: user=uid,item=asin.")
    min_rating: float | None = Field(
        None, description="Least rating of an interaction that counts as liked; others are "
        "dropped. Default: every row counts.")
    duplicates: Duplicates = Field(
        "last", description="Which row of a pair of user and item that stands several times is "
        "kept, by time, or by place in the file where there are no times; error: none may.")
    k_core: Annotated[int, Field(
        ge=0, description="Fewest interactions of a user and an item that is kept, under a budget "
        "in the evaluation alone; 0: all.")] = 5
    split: SplitBy = Field(
        "auto", description="What is held out. auto: what the data says, the last such item of "
        "each user as the target, or else leave-one-out. given: what the data says, and every "
        "held-out item is a target. leave-one-out: the last two of each user, whatever the data "
        "says.")
    split_seed: int = Field(0, description="Seed of splits that the data leaves open.")
    label: str = Field("", description="Names the run in tables.")
    series: str = Field("", description="Names the curve over epsilon that the run is a point of.")
    max_users: Annotated[int, Field(
        ge=0, description="A random part of the users; 0: all.")] = 0
    cold_items: Annotated[float, Field(
        ge=0, lt=1, description="Share of items held out of training, judged apart.")] = 0.0
    drop_features: Annotated[float, Field(
        ge=0, lt=1, description="Share of items that lose each modality, at random: to measure "
        "what absence costs.")] = 0.0
    encoders: EncoderSettings = Field(
        EncoderSettings(), description="For a folder without feature files.")
    method: str = Field("gfmfr", description="Federated method; `privfedmm methods` lists them.")
    mode: Literal["default", "reference"] = Field(
        "default", description="reference: as the reference code does, its faults included.")
    rounds: Annotated[int, Field(
        ge=1, description="Rounds of training at most; an opening and a mix add theirs.")] = ROUNDS
    seed: Annotated[int, Field(
        ge=0, lt=2**31, description="Seed of everything but the data.")] = 0
    cohort: Annotated[float, Field(
        gt=0, le=1, description="Share of users in a round without a budget, as many in every "
        "round and drawn by the seed; under a budget dp.sampling says who takes part.")] = 1.0
    aggregation: str = Field(
        "plain", description="How updates are summed; `privfedmm aggregators` lists the ways.")
    group_statistics: str | None = Field(
        None, description="How group statistics are summed, one of the same ways; default: as "
        "aggregation.")
    secure: SecureSettings = Field(
        default_factory=lambda: SecureSettings.model_validate({}), description="Of secure sums.")
    threads: Annotated[int, Field(ge=1, description="Threads of one process.")] = 1
    baselines: tuple[str, ...] = Field(
        ("random", "popularity", "public_features", "popularity_profile", "ease"),
        description="Lines to compare with, by name; `privfedmm baselines` lists them.")
    evaluation: EvaluationSettings = Field(
        EvaluationSettings(), description="How the run is judged.")
    algorithm: AlgorithmSettings = Field(
        AlgorithmSettings(), description="Settings of gfmfr, backbone and local.")
    statistics: StatisticsSettings = Field(
        StatisticsSettings(), description="Settings of the methods of group statistics.")
    mix: MixSettings = Field(
        MixSettings(), description="How the parts of a score are weighed after training.")
    settings: SerializeAsAny[Settings] | None = Field(
        None, description="Settings of a method from another package.")
    dp: DPSettings | None = Field(None, description="Differential privacy; absent: none claimed.")
    tuned: TunedSettings | None = Field(
        None, description="How settings were chosen by metrics; absent: it is not said.")

    @property
    def most_rounds(self) -> int:
        """Return the number of rounds that a run may have: those before training, of training and
        of the mix."""
        return self.entry.before(self.method_settings) + self.rounds + self.mix.rounds

    @field_validator("method")
    @classmethod
    def _known(cls, name: str) -> str:
        METHODS.get(name)
        return name

    @field_validator("columns", mode="before")
    @classmethod
    def _pairs(cls, given: object) -> object:
        """Pairs as they are written on a command line, with commas between."""
        if not isinstance(given, str):
            return given
        pairs = [part.partition("=") for part in given.split(",")]
        if any(not (name.strip() and equals and theirs.strip()) for name, equals, theirs in pairs):
            raise ValueError(f"write {given!r} as user=NAME,item=NAME; of rating, time and split "
                             "likewise")
        return {name.strip(): theirs.strip() for name, _, theirs in pairs}

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, given: dict[str, str]) -> dict[str, str]:
        strange = [name for name in given if name not in NAMES]
        if strange:
            raise ValueError(f"{strange[0]!r} is none of {', '.join(NAMES)}; correct it")
        return given

    @field_validator("aggregation")
    @classmethod
    def _carries_updates(cls, name: str) -> str:
        if not AGGREGATORS.get(name).updates:
            able = ", ".join(e.name for e in AGGREGATORS if e.updates)
            raise ValueError(f"{name} carries group statistics alone; updates go by {able}")
        return name

    @field_validator("group_statistics")
    @classmethod
    def _carries_statistics(cls, name: str | None) -> str | None:
        if name is not None and not AGGREGATORS.get(name).statistics:
            able = ", ".join(e.name for e in AGGREGATORS if e.statistics)
            raise ValueError(f"{name} carries updates alone; group statistics go by {able}")
        return name

    @field_validator("baselines")
    @classmethod
    def _known_lines(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """They are computed after training: a name that is not there must not wait till then."""
        for name in names:
            BASELINES.get(name)
        return names

    @model_validator(mode="before")
    @classmethod
    def _own_settings(cls, values: Any) -> Any:
        """The section `settings` by the model of the method that owns it."""
        if not isinstance(values, Mapping) or values.get("method", "gfmfr") not in METHODS:
            return values
        entry = METHODS.get(values.get("method", "gfmfr"))
        given = values.get("settings")
        if entry.section != "settings":
            if given is not None:
                raise ValueError(f"method {entry.name} has its settings in the section "
                                 f"{entry.section}, none in settings; move them there")
            return values
        own = given if isinstance(given, Settings) else entry.settings.model_validate(given or {})
        return {**values, "settings": own}

    @model_validator(mode="after")
    def _one_cohort(self) -> RunConfig:
        if self.dp is not None and self.cohort != 1:
            raise ValueError("cohort: under a budget dp.sampling says who takes part, and what "
                             "that costs; set dp.sampling and dp.sampling_rate instead")
        return self

    @property
    def entry(self) -> Method:
        """Return the method's own entry in the registry."""
        return METHODS.get(self.method)

    @property
    def method_settings(self) -> Any:
        """Return the settings of the method, from the section that holds them."""
        return getattr(self, self.entry.section)

    def with_method_settings(self, settings: Settings) -> RunConfig:
        """Return the config with other settings of its method."""
        return self.model_copy(update={self.entry.section: settings})

    @property
    def statistics_way(self) -> str:
        """Return the way in which group statistics are summed."""
        return self.group_statistics or self.aggregation

    @property
    def reading(self) -> Reading:
        """Return how the rows of the data are taken."""
        return Reading(self.columns, self.min_rating, self.duplicates)

    @property
    def catalogue_unit(self) -> Literal["user", "interaction"] | None:
        """Return what a budget over a public catalogue protects; None where the users' rows make
        the items, as they do without a budget."""
        return None if self.dp is None or self.dp.catalogue != "public" else self.dp.unit

    @property
    def is_reference(self) -> bool:
        """Return whether the run follows a reference implementation, faults included."""
        return self.mode == "reference"

    @property
    def is_secure(self) -> bool:
        """Return whether anything is summed so that its senders stay hidden."""
        return any(AGGREGATORS.get(way).hides_clients
                   for way in (self.aggregation, self.statistics_way))
