"""The sections of a config that say what protects a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from privacy.places import Place
from privfedmm.base.settings import Settings
from privfedmm.mechanisms.noises import NOISES


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
