"""The base of all settings, and those of training on a device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    """This is the base of all settings: frozen, and strict about names, so that an unknown key is
    an error.

    The string below a field explains it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LocalSettings(Settings):
    """This section sets how a device trains."""

    epochs: Annotated[int, Field(ge=1)] = 5
    """Passes over a client's samples in a round."""
    batch_size: Annotated[int, Field(ge=0)] = 0
    """Samples in a step; 0: all of a client's."""
    negatives_per_positive: Annotated[int, Field(ge=1)] = 4
    """Items without interaction that are drawn for each positive."""
    negatives: Literal["fresh", "first"] = "fresh"
    """fresh: uniform anew each round. first: the first ids without interaction, as the
    reference code."""
    loss: Literal["sum", "mean"] = "sum"
    """Whether a step takes the sum or the mean of the samples' losses."""
    lr_user: NonNegative = 0.05
    """Learning rate of the user vector."""
    lr_items: NonNegative = 0.05
    """Learning rate of the item rows."""
    lr_items_times_items: bool = False
    """Multiply the rate of item rows by the number of items, as the reference code."""
    lr_network: NonNegative = 0.01
    """Learning rate of the client's network, where the backbone has one."""
    unit_updates: bool = False
    """Bring each user's item update to length 1, so that every user has the same say."""
    weight_decay_user: NonNegative = 1.0
    """L2 decay of the user vector."""
    weight_decay_items: NonNegative = 0.0
    """L2 decay of the item rows."""
    weight_decay_network: NonNegative = 0.0
    """L2 decay of the network."""
    decay_items: Fraction = 1.0
    """The rate of item rows is multiplied by this each round."""
    decay_network: Fraction = 1.0
    """The rates of user vector and network are multiplied by this each round."""
    alpha: NonNegative = 0.0
    """Weight of the term that pushes private and shared rows apart."""
    beta: NonNegative = 0.0
    """Weight of the L1 norm of shared rows."""
    regularisers: Literal["constant", "first_round_only"] = "constant"
    """When alpha and beta hold; the reference code drops them after the first round."""
