"""How settings were chosen, as a config says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from privfedmm.base.settings import Settings


class TunedSettings(Settings):
    """This section says how settings were chosen: by looks at validation metrics. `tune` writes it,
    records and statements tell it, and nothing else follows from it."""

    looks: Annotated[int, Field(
        ge=1, description="Runs whose validation metrics were looked at.")]
    metric: str = Field("", description="The validation metric that was best.")
    settings: tuple[str, ...] = Field((), description="Paths of what was chosen.")
    epsilon: Annotated[float, Field(ge=0)] | None = Field(
        None, description="What the looks and this run cost together, at the run's delta; absent: "
        "the looks claim nothing.")

    def told(self) -> str:
        """Return the choice in words."""
        price = "" if self.epsilon is None else (
            f"; looks and run are private runs on the same users, of epsilon {self.epsilon:.4g} "
            "together")
        return (f"{', '.join(self.settings)} by {self.looks} looks at validation "
                f"{self.metric}{price}")
