"""Settings of the algorithm. Each repair of the reference code is one named setting here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from privfedmm.base.settings import LocalSettings, NonNegative, Positive, Settings
from privfedmm.groupings.settings import GroupSettings


class ModelSettings(Settings):
    """This section sets the client model and where its item table starts."""

    backbone: str = "mf"
    """The client's model; `privfedmm backbones` lists them."""
    dim: Annotated[int, Field(ge=1)] = 32
    """Length of user vectors and item rows."""
    item_init: Literal["features", "random"] = "features"
    """Where item rows start: principal components of the public features, or random."""
    item_init_std: Positive = 0.1
    """Standard deviation of the first item rows."""
    user_init_std: NonNegative = 0.1
    """Standard deviation of the first user vectors."""
    private_table: Literal["none", "zero", "normal"] = "none"
    """A device's own item rows beside the shared ones, and where they start."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.8
    """Scores are read from exponential averages of user vectors (kept on the device) and of the
    server's tables: this share of the old average stays each round. 0: the last values."""
    profile_weight: NonNegative = 0.2
    """Weight of the on-device profile in a score: cosine of the item with the mean public
    feature of the user's items, standardised over items."""
    profile_rank: Annotated[int, Field(ge=1)] = 64
    """Public components that signal and profile use."""

    @field_validator("backbone")
    @classmethod
    def _known(cls, name: str) -> str:
        from privfedmm.backbones.registry import BACKBONES

        BACKBONES.get(name)
        return name


class ServerSettings(Settings):
    """This section sets what the server does with the sum of the uploads."""

    lr: Positive = 10.0
    """Step of the item table, on the mean update over the cohort."""
    network_lr: Positive = 1.0
    """Step of the shared network, on the mean update."""
    smoothing: NonNegative = 1.0
    """Share of each item's update lent to items alike in features."""
    smoothing_temperature: Positive = 0.1
    """Of the softmax over cosines that says how much a neighbour is lent."""
    smoothing_neighbours: Annotated[int, Field(ge=1)] = 50
    """Items that an update is lent to."""
    image_weight: NonNegative = 0.5
    """Weight of image columns beside those of other modalities, where features are joined."""


class FusionSettings(Settings):
    """This section sets the server's network from (group, text, image) to a group's item table."""

    module: str = "mlp"
    """Form of the network."""
    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over the items when it is trained."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """How it is trained."""
    lr: Positive = 0.01
    """Its learning rate."""
    weight_decay: NonNegative = 1e-4
    """Its L2 decay."""
    feature_rank: Annotated[int, Field(ge=0)] = 64
    """Public PCA before the linear maps; 0: none."""
    every: Annotated[int, Field(ge=1)] = 1
    """Rounds between two trainings."""

    @field_validator("module")
    @classmethod
    def _known(cls, name: str) -> str:
        from privfedmm.fusions.registry import FUSIONS

        FUSIONS.get(name)
        return name


class DistillationSettings(Settings):
    """This section sets how a group's preference reaches its members' training."""

    weight: NonNegative = 0.03
    """Weight of the Bernoulli KL to the group's preference; 0: none."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: the weight follows a cosine over the rounds. constant: it stays."""
    balance: Literal["fixed", "ema_ratio"] = "fixed"
    """ema_ratio: multiplied by the running ratio BCE / KL, which is unbounded."""
    teacher: Literal["group_user", "mean_head"] = "group_user"
    """Where the preference comes from: the group's mean user through the clients' own model, or
    the mean head."""


class AssociationSettings(Settings):
    """This section sets associations, that is what follows what in public components
    (privfedmm/devices/associations.py): they are summed in the first round and scored on the
    device, and need item features."""

    weight: NonNegative | None = None
    """Of the standardised score, beside the backbone's logit; default 1.5 where the data has
    times, else 0. Without times it is what goes with what."""
    rank: Annotated[int, Field(ge=1)] = 400
    """Public components."""
    ridge: Positive = 1.0
    """Of the regression, in mean variances."""
    half_life: Positive = 4.0
    """In items, of what the next one is set against; needs times."""
    image_weight: Positive = 0.35
    """Weight of image columns in the components."""

    def settled(self, timed: bool) -> AssociationSettings:
        """Return these settings with a number for the weight.

        All parties of a run must settle it alike.
        """
        if self.weight is not None:
            return self
        return self.model_copy(update={"weight": 1.5 if timed else 0.0})


class OpeningSettings(Settings):
    """This section sets what is released once, before training, and held fixed under it: popularity
    and associations, to which each device fits its user's taste (privfedmm/gfmfr/opening.py)."""

    on: bool = False
    """Whether there is an opening."""
    recent_weight: NonNegative = 0.5
    """Weight, in scores, of what the user's last items are like; needs times."""
    association_rank: Annotated[int, Field(ge=0)] | None = None
    """Components that associations are counted in, beside popularity; 0: none; default: by users
    and noise (privfedmm/gfmfr/planner.py)."""
    association_weight: NonNegative | None = None
    """Weight of their standardised score; default: by users and noise."""
    training_rounds: Annotated[int, Field(ge=0)] | None = None
    """Rounds of training after the opening, of those that `rounds` allows; default under a budget:
    none or a few, by users, items and noise, else all."""
    training_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share that the rounds of training get, where there are any, of what a budget leaves beside
    the mix."""
    training_dim: Annotated[int, Field(ge=1)] = 8
    """Length of user vectors and item rows under noise, at most `model.dim`."""


class AlgorithmSettings(Settings):
    """This section sets everything that decides the numbers of a run, next to data, rounds and
    seed."""

    modalities: Literal["all", "none"] | tuple[str, ...] = "all"
    """Features that a run uses: all, none, or names."""
    model: ModelSettings = ModelSettings()
    local: LocalSettings = LocalSettings()
    server: ServerSettings = ServerSettings()
    groups: GroupSettings = GroupSettings()
    fusion: FusionSettings = FusionSettings()
    distillation: DistillationSettings = DistillationSettings()
    associations: AssociationSettings = AssociationSettings()
    opening: OpeningSettings = OpeningSettings()


def reference_settings() -> AlgorithmSettings:
    """Return the settings of the reference code, none of its faults repaired (docs/concepts.md)."""
    return AlgorithmSettings(
        model=ModelSettings(
            backbone="fedrap", dim=64, item_init="random", item_init_std=1.0,
            user_init_std=1.0, private_table="normal", averaging=0.0, profile_weight=0.0,
        ),
        local=LocalSettings(
            epochs=5, batch_size=256, negatives="first", loss="mean", lr_user=0.01,
            lr_items=0.01, lr_items_times_items=True, lr_network=0.01,
            weight_decay_user=1e-4, weight_decay_items=1e-4, weight_decay_network=1e-4,
            decay_items=0.9, decay_network=0.8, alpha=0.1, beta=0.1,
            regularisers="first_round_only",
        ),
        server=ServerSettings(lr=1.0, smoothing=0.0),
        groups=GroupSettings(
            grouping="reference", groups=5, min_size=1, start_round=0, adapter=0.0,
            clustering="spectral", pca_variance=0.95,
        ),
        fusion=FusionSettings(epochs=50, optimiser="sgd", lr=0.01, feature_rank=0),
        distillation=DistillationSettings(
            weight=1.0, schedule="cosine", balance="ema_ratio", teacher="mean_head",
        ),
        associations=AssociationSettings(weight=0.0),
    )


def default_settings(backbone: str) -> AlgorithmSettings:
    """Return the defaults for a backbone, with the settings that go with it.

    Raises ValueError for a backbone that is not there.
    """
    from privfedmm.backbones.registry import BACKBONES

    own = BACKBONES.get(backbone).settings
    return AlgorithmSettings.model_validate({**own, "model": {"backbone": backbone}})


PRIVATE_ROUNDS = 8
OPENED_ROUNDS = 40  # of training under a budget, at most


def private_updates(settings: AlgorithmSettings) -> dict[str, Settings]:
    """Return the sections that change where each interaction is protected.

    There is one release a round, so no groups and no teacher; there are fewer rounds with more
    local work, and there is no smoothing on top of a subspace.
    """
    return {
        "associations": settings.associations.model_copy(update={"weight": 0.0}),
        "groups": settings.groups.model_copy(update={"grouping": "none"}),
        "distillation": settings.distillation.model_copy(update={"weight": 0.0}),
        "local": settings.local.model_copy(update={"epochs": 3}),
        "server": settings.server.model_copy(update={"smoothing": 0.0}),
    }


def opened_updates(settings: AlgorithmSettings) -> dict[str, Settings]:
    """Return the sections that change where training begins from an opening.

    Updates have length 1, of which the step of the table is a share, and the taste of the opening
    stands in for the profile.
    """
    return {
        "opening": settings.opening.model_copy(update={"on": True}),
        "associations": settings.associations.model_copy(update={"weight": 0.0}),
        "local": settings.local.model_copy(update={"unit_updates": True}),
        "server": settings.server.model_copy(update={"lr": 30.0}),
        "model": settings.model.model_copy(update={"profile_weight": 0.0}),
    }


def backbone_only(settings: AlgorithmSettings) -> AlgorithmSettings:
    """Return the same backbone and training, without groups, features, fusion or distillation."""
    return settings.model_copy(
        update={
            "modalities": "none",
            "opening": settings.opening.model_copy(update={"on": False}),
            "associations": settings.associations.model_copy(update={"weight": 0.0}),
            "groups": settings.groups.model_copy(update={"grouping": "none"}),
            "distillation": settings.distillation.model_copy(update={"weight": 0.0}),
        }
    )


def local_only(settings: AlgorithmSettings) -> AlgorithmSettings:
    """Return settings under which nothing is sent.

    Groups and distillation have nothing to work from and are off; features stay.
    """
    plain = backbone_only(settings)
    return plain.model_copy(update={"modalities": settings.modalities})
