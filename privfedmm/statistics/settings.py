"""Settings of the statistics methods; none of them may depend on anybody's interactions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from privfedmm.base.settings import NonNegative, Positive, Settings


class StatisticsSettings(Settings):
    """This section sets the statistics methods. Its defaults were chosen on validation NDCG@50 of
    ml100k_posters at epsilon 2 (docs/results)."""

    personal: Literal["tilt", "cosine", "none"] = "tilt"
    """What a device knows of its user: `tilt` fits a taste vector in the public feature space,
    `cosine` compares an item with the mean of the user's items, `none` leaves popularity
    alone."""
    shrink_popularity: bool = True
    """Whether log popularity counts by the share of its spread that is not noise, beside what a
    device knows of its user."""
    groups: Annotated[int, Field(ge=0)] | None = None
    """How many groups; 0: no group statistics; default: by users and noise
    (rules.public_groups)."""
    min_size: Annotated[int, Field(ge=1)] = 5
    """Fewest members of a group that is used, beyond what noise may bring."""
    feature_rank: Annotated[int, Field(ge=1)] = 64
    """Components of each modality, for the tilt."""
    image_weight: Positive = 1.0
    """Weight of the image components beside those of other modalities, for the tilt."""
    ridge: Positive = 3.0
    """Of the taste vector."""
    tilt_steps: Annotated[int, Field(ge=1)] = 40
    """Steps of gradient ascent that fit the taste vector."""
    recent_weight: NonNegative = 0.5
    """Weight of what the user's last items are like, beside the tilt; half of it is from the
    last `recent_items`. Needs times; without them there is no such part."""
    recent_items: Positive = 3.0
    """Half-life, in items, of what counts as recent."""
    association_rank: Annotated[int, Field(ge=0)] | None = None
    """Components that associations are counted in; 0: none; default: by users and noise
    (rules.public_rank)."""
    noiseless_rank: Annotated[int, Field(ge=0)] = 400
    """How many where no noise is added; 0: by users, as under noise of 1."""
    association_weight: NonNegative | None = None
    """Weight of their standardised score; default: by users and noise (rules.public_weight)."""
    association_items: Positive = 2.0
    """Half-life, in items, of what the next one is set against."""
    association_image_weight: Positive = 0.35
    """Weight of image columns in the components of associations."""
    text_cosine: NonNegative = 0.3
    """Weight of the standardised cosine of texts."""
    other_cosine: NonNegative = 0.2
    """Weight of the standardised cosine of each other modality."""
    count_weight: Positive = 0.2
    """Weight of "one in my group" in the joint vector."""
    fused_std: NonNegative = 0.1
    """Prior spread of a group's relative preference for an item: the part that follows from
    text and image."""
    item_std: Positive = 0.3
    """Prior spread of a group's relative preference for an item: the item's own part."""
    fusion_rank: Annotated[int, Field(ge=1)] = 128
    """Public components that the fusion reads."""
