"""Which encoders turn an item's text and picture into features, and how they are run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from privfedmm.settings import Settings


class EncoderSettings(Settings):
    """`auto`: the pretrained model of the extra `encoders` where it is installed, else the plain
    encoder, which the record names; `none`: leave the modality out. Anything else is a built-in
    name (`minilm`, `hashing`; `efficientnet-lite0`, `histogram`), a model folder or a hub name.
    """

    text_model: str = "auto"
    image_model: str = "auto"
    # Columns of items.csv that make the text, in order; none: title, year, genres, description.
    text_columns: tuple[str, ...] = ()
    text_pooling: Literal["mean", "cls"] = "mean"
    max_tokens: Annotated[int, Field(ge=8)] = 256
    batch_size: Annotated[int, Field(ge=1)] = 32
    device: str = "auto"  # auto: cuda where there is one (in half precision), else cpu
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000  # a larger picture is refused unread
    # Go on without the text or picture of items where it is absent or cannot be read. The record
    # counts them. False: the first such item is an error.
    allow_missing: bool = False
