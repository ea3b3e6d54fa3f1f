"""Settings of the algorithm. Each repair of the reference code is one named setting here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """Frozen, strict about names: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSettings(Settings):
    """The client model and where its item table starts."""

    backbone: Literal["mf", "fedrap"] = "mf"
    dim: Annotated[int, Field(ge=1)] = 32
    item_init: Literal["features", "random"] = "features"
    item_init_std: Positive = 0.1
    user_init_std: NonNegative = 0.1
    private_table: Literal["none", "zero", "normal"] = "none"
    # Scores are read from exponential averages of user vectors (kept on the device) and of the
    # server's tables: this share of the old average stays each round. 0: the last values.
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.8
    # Weight of the on-device profile in a score: cosine of the item with the mean public feature
    # of the user's items, standardised over items.
    profile_weight: NonNegative = 0.2
    profile_rank: Annotated[int, Field(ge=1)] = 64  # public components that signal and profile use


class LocalSettings(Settings):
    """Training on the device."""

    epochs: Annotated[int, Field(ge=1)] = 5
    batch_size: Annotated[int, Field(ge=0)] = 0  # 0: all of a client's samples in one step
    negatives_per_positive: Annotated[int, Field(ge=1)] = 4
    negatives: Literal["fresh", "first"] = "fresh"
    loss: Literal["sum", "mean"] = "sum"
    lr_user: NonNegative = 0.05
    lr_items: NonNegative = 0.05
    lr_items_times_items: bool = False
    lr_network: NonNegative = 0.01
    weight_decay_user: NonNegative = 1.0
    weight_decay_items: NonNegative = 0.0
    weight_decay_network: NonNegative = 0.0
    decay_items: Fraction = 1.0  # learning rate x this, each round
    decay_network: Fraction = 1.0
    alpha: NonNegative = 0.0  # pushes private and shared rows apart
    beta: NonNegative = 0.0  # L1 on shared rows
    regularisers: Literal["constant", "first_round_only"] = "constant"


class ServerSettings(Settings):
    """What the server does with the sum of the uploads."""

    lr: Positive = 10.0  # of the item table, on the mean update over the cohort
    network_lr: Positive = 1.0
    smoothing: NonNegative = 1.0  # share of each item's update lent to items alike in features
    smoothing_temperature: Positive = 0.1
    smoothing_neighbours: Annotated[int, Field(ge=1)] = 50
    image_weight: NonNegative = 0.5


class GroupSettings(Settings):
    """Users in groups."""

    grouping: Literal["private", "reference", "none"] = "private"
    groups: Annotated[int, Field(ge=1)] = 5
    geometry: Literal["angle", "distance"] = "angle"  # of signals and centroids
    min_size: Annotated[int, Field(ge=1)] = 5  # beyond what the noise on a count may bring
    signal: Literal["profile", "user_vector"] = "profile"  # without features: user_vector
    settle_rounds: Annotated[int, Field(ge=1)] = 10  # rounds in which private centroids move
    start_round: Annotated[int, Field(ge=0)] = 5  # group tables and teacher are used from here
    adapter: NonNegative = 0.5  # step of a group's own item table, relative to the shared one
    # Public components in which groups upload their item updates; 0: whole tables.
    adapter_rank: Annotated[int, Field(ge=0)] = 0
    clustering: Literal["kmeans", "spectral"] = "spectral"  # grouping = reference only
    pca_variance: Fraction = 0.95  # grouping = reference only; 0: no PCA


class FusionSettings(Settings):
    """The server's network from (group, text, image) to a group's item table."""

    module: Literal["sum", "mlp", "gate", "moe", "attention"] = "mlp"
    epochs: Annotated[int, Field(ge=1)] = 5
    optimiser: Literal["adam", "sgd"] = "adam"
    lr: Positive = 0.01
    weight_decay: NonNegative = 1e-4
    feature_rank: Annotated[int, Field(ge=0)] = 64  # public PCA before the linear maps; 0: none
    every: Annotated[int, Field(ge=1)] = 1


class DistillationSettings(Settings):
    """How a group's preference reaches its members' training."""

    weight: NonNegative = 0.03
    schedule: Literal["cosine", "constant"] = "cosine"
    balance: Literal["fixed", "ema_ratio"] = "fixed"  # ema_ratio: BCE/KL, unbounded
    teacher: Literal["group_user", "mean_head"] = "group_user"


class AssociationSettings(Settings):
    """What follows what, in public components (privfedmm/associations.py): summed in the first
    round and scored on the device; none without item features.

    weight: of the standardised score, beside the backbone's logit. None: 1.5 where the data has
    times, else 0. Without times it is what goes with what.
    """

    weight: NonNegative | None = None
    rank: Annotated[int, Field(ge=1)] = 400  # components
    ridge: Positive = 1.0  # of the regression, in mean variances
    half_life: Positive = 4.0  # in items, of what the next one is set against; needs times
    image_weight: Positive = 0.35

    def settled(self, timed: bool) -> AssociationSettings:
        """With a number for the weight. All parties of a run must settle it alike."""
        if self.weight is not None:
            return self
        return self.model_copy(update={"weight": 1.5 if timed else 0.0})


class AlgorithmSettings(Settings):
    """Everything that decides the numbers of a run, next to data, rounds and seed."""

    modalities: Literal["all", "none"] | tuple[str, ...] = "all"
    model: ModelSettings = ModelSettings()
    local: LocalSettings = LocalSettings()
    server: ServerSettings = ServerSettings()
    groups: GroupSettings = GroupSettings()
    fusion: FusionSettings = FusionSettings()
    distillation: DistillationSettings = DistillationSettings()
    associations: AssociationSettings = AssociationSettings()


def reference_settings() -> AlgorithmSettings:
    """The settings of the reference code, none of its faults repaired (docs/concepts.md)."""
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
    """The defaults for a backbone; with the rates of `mf` the network of `fedrap` diverges."""
    if backbone != "fedrap":
        return AlgorithmSettings()
    return AlgorithmSettings(
        model=ModelSettings(backbone="fedrap"),
        local=LocalSettings(
            lr_user=0.01, lr_items=0.01, lr_network=0.001, weight_decay_user=0.1
        ),
    )


PRIVATE_ROUNDS = 8


def private_updates(settings: AlgorithmSettings) -> dict[str, Settings]:
    """What changes under noise: one release a round, so no groups and no teacher; fewer rounds
    with more local work; no smoothing on top of a subspace."""
    return {
        "associations": settings.associations.model_copy(update={"weight": 0.0}),
        "groups": settings.groups.model_copy(update={"grouping": "none"}),
        "distillation": settings.distillation.model_copy(update={"weight": 0.0}),
        "local": settings.local.model_copy(update={"epochs": 3}),
        "server": settings.server.model_copy(update={"smoothing": 0.0}),
    }


def backbone_only(settings: AlgorithmSettings) -> AlgorithmSettings:
    """The same backbone and training, without groups, features, fusion or distillation."""
    return settings.model_copy(
        update={
            "modalities": "none",
            "associations": settings.associations.model_copy(update={"weight": 0.0}),
            "groups": settings.groups.model_copy(update={"grouping": "none"}),
            "distillation": settings.distillation.model_copy(update={"weight": 0.0}),
        }
    )


def check(s: AlgorithmSettings) -> None:
    """Raise ValueError for settings that do not fit together."""
    if s.groups.grouping == "reference" and s.model.backbone != "fedrap":
        raise ValueError("groups.grouping: 'reference' clusters the clients' networks, and the "
                         f"backbone {s.model.backbone!r} has none; use backbone fedrap, or "
                         "grouping private")
    if s.distillation.teacher == "mean_head" and s.model.backbone != "fedrap":
        raise ValueError("distillation.teacher: 'mean_head' needs the head of backbone fedrap; "
                         "use group_user")
    if s.distillation.weight and s.groups.grouping == "none":
        raise ValueError("distillation.weight: distillation needs groups; set groups.grouping, "
                         "or weight 0")
    if (s.groups.grouping == "reference") != (s.distillation.teacher == "mean_head"):
        raise ValueError("distillation.teacher: 'mean_head' goes with groups.grouping = "
                         "'reference', 'group_user' with 'private' or 'none'")
