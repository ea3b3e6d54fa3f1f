"""Settings of groups; the sentence of each says which groupings it is for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from privfedmm.base.settings import Fraction, NonNegative, Settings


class GroupSettings(Settings):
    """This section sets how users are put into groups."""

    grouping: str = "private"
    """Who puts users into groups: `private` each picks its own, `reference` the server clusters,
    `none` there are none; `privfedmm groupings` lists them."""
    groups: Annotated[int, Field(ge=1)] = 5
    """How many groups."""
    geometry: Literal["angle", "distance"] = "angle"
    """With grouping private only: how signals are compared with centroids."""
    min_size: Annotated[int, Field(ge=1)] = 5
    """Where clients pick: fewest members of a group that is used, beyond what the noise on a count
    may bring."""
    signal: Literal["profile", "user_vector"] = "profile"
    """Where clients pick: what by; without features always user_vector."""
    settle_rounds: Annotated[int, Field(ge=1)] = 10
    """Where clients pick: rounds in which the centroids move."""
    start_round: Annotated[int, Field(ge=0)] = 5
    """Group tables and teacher are used from this round on."""
    adapter: NonNegative = 0.5
    """Where clients pick: step of a group's own item table, relative to the shared one."""
    adapter_rank: Annotated[int, Field(ge=0)] = 0
    """Where clients pick: public components in which groups upload their item updates; 0: whole
    tables."""
    clustering: Literal["kmeans", "spectral"] = "spectral"
    """With grouping reference only: how the server clusters."""
    pca_variance: Fraction = 0.95
    """With grouping reference only: share of variance that PCA keeps; 0: no PCA."""

    @field_validator("grouping")
    @classmethod
    def _known(cls, name: str) -> str:
        from privfedmm.groupings.registry import GROUPINGS

        GROUPINGS.get(name)
        return name
