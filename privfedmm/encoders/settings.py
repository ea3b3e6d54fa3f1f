"""Which encoders turn an item's text and picture into features, and how they are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from privfedmm.base.settings import Settings


class EncoderSettings(Settings):
    """This section names the encoders of texts and pictures. `auto`: the pretrained model of the
    extra `encoders` where it is installed, else the plain encoder, which the record names; `none`:
    leave the modality out. Anything else is a built-in name (`minilm`, `hashing`;
    `efficientnet-lite0`, `histogram`), a model folder or a hub name."""

    text_model: str = "auto"
    """Encoder of texts: auto, none, a built-in name, a model folder or a hub name."""
    image_model: str = "auto"
    """Encoder of pictures: likewise."""
    text_columns: tuple[str, ...] = ()
    """Columns of items.csv that make the text, in order; none: title, year, genres,
    description."""
    text_pooling: Literal["mean", "cls"] = "mean"
    """How a model's token vectors become one: their mean, or the first token's."""
    max_tokens: Annotated[int, Field(ge=8)] = 256
    """A longer text is cut to this."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Texts or pictures that are encoded at once."""
    device: str = "auto"
    """auto: cuda where there is one (in half precision), else cpu."""
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """A larger picture is refused unread."""
    metadata: bool = True
    """Whether genres, categories, brands, years and the like of the item table become a modality
    `metadata`, beside feature files too. --mode reference: false."""
    allow_missing: bool = False
    """Go on without the text or picture of items where it is absent or cannot be read; the
    record counts them. false: the first such item is an error."""
