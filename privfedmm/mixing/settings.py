"""Settings of the mix."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from privfedmm.base.settings import Positive, Settings


class MixSettings(Settings):
    """This section sets the mix: after training, the parts that a score is the sum of are weighed
    by what they tell of each user's validation item, which no upload of training knows
    (privfedmm/mixing/algorithm.py)."""

    on: bool = False
    """Whether parts are weighed; of methods that explain their scores."""
    steps: Annotated[int, Field(ge=1)] = 2
    """Newton steps, one a round."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of a budget that the steps get together."""
    prior: Positive = 0.5
    """Standard deviation of the weights around what they are without a mix: where users are few, or
    noise is wide, they stay near it."""

    @property
    def rounds(self) -> int:
        """Return the number of rounds that the mix takes, 0 where there is none."""
        return self.steps if self.on else 0
