"""Settings of the statistics methods; none of them may depend on anybody's interactions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from privfedmm.settings import NonNegative, Positive, Settings


class StatisticsSettings(Settings):
    """Chosen on validation NDCG@50 of ml100k_posters at epsilon 2 (docs/results)."""

    # What a device knows of its user: `tilt` fits a taste vector in the public feature space,
    # `cosine` compares an item with the mean of the user's items, `none` leaves popularity alone.
    personal: Literal["tilt", "cosine", "none"] = "tilt"
    # 0: no group statistics; None: by users and noise (algorithm.public_groups).
    groups: Annotated[int, Field(ge=0)] | None = None
    min_size: Annotated[int, Field(ge=1)] = 5  # of a group, beyond what noise may bring
    feature_rank: Annotated[int, Field(ge=1)] = 64  # components of each modality, for the tilt
    image_weight: Positive = 1.0
    ridge: Positive = 3.0  # of the taste vector
    tilt_steps: Annotated[int, Field(ge=1)] = 40
    # Weight of what the user's last items are like, beside the tilt; half of it is from the last
    # `recent_items`. Needs times; without them there is no such part.
    recent_weight: NonNegative = 0.5
    recent_items: Positive = 3.0
    # Components that associations are counted in; 0: none; None: by users and noise
    # (algorithm.public_rank).
    association_rank: Annotated[int, Field(ge=0)] | None = None
    association_weight: NonNegative = 0.3  # of their standardised score
    association_items: Positive = 2.0  # half-life, in items, of what the next one is set against
    association_image_weight: Positive = 0.35
    text_cosine: NonNegative = 0.3  # weight of the standardised cosine: text, other modalities
    other_cosine: NonNegative = 0.2
    count_weight: Positive = 0.2  # of "one in my group" in the joint vector
    # Prior spread of a group's relative preference for an item: the part that follows from text
    # and image, and the item's own.
    fused_std: NonNegative = 0.1
    item_std: Positive = 0.3
    fusion_rank: Annotated[int, Field(ge=1)] = 128  # public components that the fusion reads
