"""The sections of a run's config. Those of methods stand with the methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from privacy.places import Place
from privfedmm.base.settings import Settings
from privfedmm.baselines.baseline import BASELINES
from privfedmm.config.tuned import TunedSettings
from privfedmm.data.raw import NAMES, Reading
from privfedmm.data.raw.reading import Duplicates
from privfedmm.data.types import SplitBy
from privfedmm.encoders import EncoderSettings
from privfedmm.evaluation.metrics import SHOWN, names_of
from privfedmm.gfmfr.settings import AlgorithmSettings
from privfedmm.mechanisms.aggregators import AGGREGATORS
from privfedmm.mechanisms.noises import NOISES
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


class DPSettings(Settings):
    """This section sets differential privacy: what is promised, and with what mechanism. No promise
    is a default."""

    epsilon: Annotated[float, Field(
        gt=0, description="Budget of the whole run; inf: clip, but add no noise and promise "
        "nothing.")]
    delta: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="Chance that the promise fails; default min(1e-5, users^-1.1).")
    unit: Literal["user", "interaction"] = Field(
        "user", description="What is protected: one user's whole data, or a single interaction by "
        "noise in each device's training.")
    trust: Literal["central", "local", "distributed"] = Field(
        "central", description="Who adds the noise: the server to the sum, each device all of its "
        "own, or each device a share inside a secure sum.")
    mechanism: str = Field(
        "gaussian", description="Noise; `privfedmm noises` lists them.")
    sampling: Literal["everyone", "poisson", "fixed"] = Field(
        "everyone", description="Who takes part in a round.")
    sampling_rate: Annotated[float, Field(
        gt=0, le=1, description="Share of users in a round.")] = 1.0
    spare_rounds: Annotated[int, Field(
        ge=0, description="Attempts beyond the rounds that the budget pays for: as many rounds may "
        "be aborted and tried again without costing a planned one. They are noise that the run "
        "carries whether it needs them or not.")] = 0
    clip_norm: Annotated[float, Field(
        gt=0, description="L2 norm that a client's joint vector is clipped to.")] = 1.0
    clipping: Literal["fixed", "adaptive"] = Field(
        "fixed", description="adaptive: the norm starts at clip_norm and follows a quantile of the "
        "clients' norms.")
    clip_quantile: Annotated[float, Field(
        gt=0, lt=1, description="Adaptive: share of clients that should stay unclipped.")] = 0.5
    clip_learning_rate: Annotated[float, Field(
        gt=0, description="Adaptive: how fast the norm moves.")] = 0.2
    clip_smallest: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Adaptive: least norm; default clip_norm / 100.")
    clip_largest: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Adaptive: largest norm; default clip_norm * 100.")
    clip_bit_stddev: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Adaptive: noise on the sum of clip bits; default a twentieth of the "
        "cohort.")
    noise: Literal["csprng", "simulation"] = Field(
        "csprng", description="csprng: keyed by the operating system, no run can be repeated. "
        "simulation: from the seed, repeatable, protects nobody.")
    subspace_rank: Annotated[int, Field(
        ge=0, description="Public feature directions that the item update is confined to; 0: the "
        "whole table. Of methods whose update has such a subspace.")] = 64
    catalogue: Literal["public", "from_interactions"] = Field(
        "public", description="Where the items come from: a public list of them, or the users' own "
        "rows, which the claim does not cover.")

    @property
    def place(self) -> Place:
        """Return where the noise is added, as the noises call it."""
        return Place(self.trust)

    @property
    def per_interaction(self) -> bool:
        """Return whether the budget protects one interaction, by noise in each device's training.
        """
        return self.unit == "interaction"

    @property
    def everyone(self) -> bool:
        """Return whether every client takes part in every round."""
        return self.sampling == "everyone"

    @property
    def moving_clip(self) -> bool:
        """Return whether the clip norm follows a quantile of the uploads' norms."""
        return self.clipping == "adaptive"

    @field_validator("mechanism")
    @classmethod
    def _known(cls, name: str) -> str:
        NOISES.get(name)
        return name


class SecureSettings(Settings):
    """This section sets secure aggregation: how much is tolerated, and how fine the integers are.
    """

    mode: Literal["full", "ring"] = Field(
        "full", description="full: keys, masks and shares are really made. ring: the same integers "
        "summed without them.")
    clip_norm: Annotated[float, Field(
        gt=0, le=1e6, description="Without dp: uploads longer than this are shortened to it, so "
        "that their sum fits the ring.")] = 64.0
    levels: Annotated[int, Field(ge=16, le=2**22)] | None = Field(
        None, description="Steps in a clip norm; default 4096 under a budget, else as many as the "
        "ring holds.")
    dropout: Annotated[float, Field(
        ge=0, lt=0.5, description="Share of a cohort that may vanish.")] = 0.1
    server: Literal["active", "semi_honest"] = Field(
        "active", description="Whom masked sums hold against. active: a server that may tell every "
        "client something else. semi_honest: one that reads everything and tells all the same; its "
        "mask graph is cheaper.")
    nodes: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="Users of each owner, in the order of their numbers: an owner vanishes "
        "and colludes whole. Default: every user their own; a deployment sets it.")
    colluding_nodes: Annotated[int, Field(
        ge=0, description="Owners, whichever they are, that may side with the server.")] = 1
    colluding: Annotated[float, Field(
        ge=0, lt=0.5, description="Share of a cohort that may side with the server, where that is "
        "more than what those owners hold.")] = 0.05
    failure_bits: Annotated[int, Field(
        ge=10, le=128, description="-log2 of the stated chance of failure.")] = 20
    scheme: Literal["bfv", "ckks"] = Field(
        "bfv", description="Of encrypted statistics; bfv is exact.")
    simulated_dropout: Annotated[float, Field(
        ge=0, lt=1, description="Share of a cohort that does vanish in a simulation.")] = 0.0

    @property
    def without_messages(self) -> bool:
        """Return whether the sums are simulated: the same integers, without keys and masks."""
        return self.mode == "ring"


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
    rounds: Annotated[int, Field(ge=1, description="Rounds at most.")] = ROUNDS
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
