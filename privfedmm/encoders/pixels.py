"""Pictures from bytes, and their preparation for a model by PIL and numpy alone.

The steps and numbers are those of the model's own `preprocessor_config.json`; torchvision is not
needed.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from privfedmm.encoders.protocol import ContentError, EncoderError

KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".gif": "GIF",
         ".bmp": "BMP"}


def open_picture(data: bytes, name: str, item: str, max_pixels: int) -> Image.Image:
    """Return the picture as RGB; its size is checked before its pixels are read.

    Raises ContentError naming item and file for another format than its ending says, a picture of
    more than max_pixels, and bytes that cannot be decoded to the end.
    """
    kind = KINDS["." + name.rpartition(".")[2].lower()]
    try:
        with warnings.catch_warnings():
            # PIL's own limit is a process-wide number; ours below is the one that counts.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=[kind])
    except UnidentifiedImageError as error:
        raise ContentError(f"item {item}: {name} is not a {kind} picture; it is damaged or has "
                           "the wrong ending; replace or rename it") from error
    except Image.DecompressionBombError as error:
        raise ContentError(_too_large(item, name, max_pixels)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise ContentError(f"item {item}: {name} cannot be opened ({error}); "
                           "replace it") from error
    if picture.width * picture.height > max_pixels:
        raise ContentError(_too_large(item, name, max_pixels))
    try:
        return _upright(picture)
    except (OSError, ValueError, SyntaxError, IndexError, EOFError) as error:
        raise ContentError(f"item {item}: {name} cannot be decoded ({error}); "
                           "replace it") from error


def _upright(picture: Image.Image) -> Image.Image:
    """The picture as a viewer shows it: turned as its EXIF says, on white, in 8 bits a colour."""
    out = ImageOps.exif_transpose(picture)
    if out.mode.startswith("I") or out.mode == "F":
        levels = np.asarray(out, dtype=np.float64)
        # Grey of 16 bits; one whose values are few enough is of 8 bits in a wider type.
        scale = 257.0 if out.mode != "F" and levels.max(initial=0) > 255 else 1.0
        return Image.fromarray(np.clip(levels / scale, 0, 255).round().astype(np.uint8)).convert(
            "RGB")
    if out.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in out.info:
        whole = out.convert("RGBA")
        white = Image.new("RGBA", whole.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, whole).convert("RGB")
    return out.convert("RGB")


def _too_large(item: str, name: str, max_pixels: int) -> str:
    return (f"item {item}: {name} has more than {max_pixels} pixels (encoders.max_pixels); "
            "make it smaller")


@dataclass(frozen=True)
class Preparation:
    """A preparation resizes pictures, crops them to the centre, scales and normalises them.

    resize: the short edge, or (height, width).
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int] | None
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Turn RGB pictures into [n, 3, height, width] float32."""
        return np.stack([self._one(image) for image in images])

    def _one(self, image: Image.Image) -> np.ndarray:
        if isinstance(self.resize, tuple):
            height, width = self.resize
        else:
            short = min(image.size)
            width, height = (max(1, side * self.resize // short) for side in image.size)
        image = image.resize((width, height), Image.Resampling(self.resample))
        if self.crop is not None:
            left, top = (width - self.crop[1]) // 2, (height - self.crop[0]) // 2
            # Beyond the edges PIL fills with black, as the processors of transformers do.
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        pixels = np.asarray(image, dtype=np.float32) * self.scale
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normal = (pixels - mean) / std
        return np.asarray(normal.transpose(2, 0, 1), dtype=np.float32)


def preparation(config: Mapping[str, Any], where: str) -> Preparation:
    """Return the steps of a `preprocessor_config.json`. Raises EncoderError for steps that are not
    known here."""
    config = config.get("image_processor", config)
    if config.get("do_pad"):
        raise EncoderError(f"{where}: its preprocessor_config.json pads pictures (do_pad), which "
                           "is not supported; choose another model")
    crop = _pair(config["crop_size"]) if config.get("do_center_crop") else None
    size = config.get("size", 224)
    if isinstance(size, Mapping) and "shortest_edge" in size:
        resize: int | tuple[int, int] = int(size["shortest_edge"])
    elif isinstance(size, Mapping) and "height" not in size:
        raise EncoderError(f"{where}: the size {dict(size)} in its preprocessor_config.json is not "
                           "supported; give shortest_edge, or height and width")
    elif isinstance(size, int) and crop is not None:
        resize = size  # the old way to write the short edge
    else:
        resize = _pair(size)
    if not isinstance(resize, tuple) and crop is None:
        raise EncoderError(f"{where}: its preprocessor_config.json leaves pictures of different "
                           "shapes (a short edge and no crop), which cannot go in one batch")
    flat = config.get("do_normalize", True)
    return Preparation(
        resize=resize,
        crop=crop,
        resample=int(config.get("resample", Image.Resampling.BICUBIC)),
        scale=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1,
        mean=tuple(config.get("image_mean", (0.5,) * 3)) if flat else (0.0,) * 3,
        std=tuple(config.get("image_std", (0.5,) * 3)) if flat else (1.0,) * 3,
    )


def _pair(size: int | Mapping[str, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))
