"""Text models of transformers: pooled token vectors, or the text tower of a two-tower model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from privfedmm.encoders.models import digest, model_config
from privfedmm.encoders.protocol import Encode, Encoder, EncoderError
from privfedmm.encoders.torch_model import Place, load_model, towers, vectors


def transformers_text(
    folder: Path, name: str, pooling: str, max_tokens: int, place: Place
) -> Encoder:
    """Return the encoder of the text model in a folder; rows have norm 1.

    A two-tower model is recognised by its config.
    """
    two = towers(model_config(folder))
    how = "text tower" if two else f"{pooling} of the token vectors"
    sha = digest(folder)
    return Encoder(
        f"text-2/{name}/{sha}/{how}/{max_tokens}/{place.precision}",
        f"{name} (transformers, sha256 {sha[:12]}), {how}, at most {max_tokens} tokens, "
        f"{place.precision}",
        lambda: _load(folder, two, pooling, max_tokens, place),
    )


def _load(folder: Path, two: bool, pooling: str, max_tokens: int, place: Place) -> Encode:
    model = load_model(folder, place)
    from transformers import AutoTokenizer  # `load_model` has said where it is absent

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EncoderError(f"{folder} has no tokenizer that transformers can read; copy the whole "
                           "model folder, or name a text model") from error
    length = min(max_tokens, int(tokenizer.model_max_length), _positions(model.config))
    # SigLIP's text tower was trained on padding to the full length; the mask has no say in it.
    padding = "max_length" if model.config.model_type.startswith("siglip") else True

    return _TextModel(model, tokenizer, padding, length, "" if two else pooling, place)


@dataclass(frozen=True)
class _TextModel:
    """A loaded model; pooling: of the token vectors, empty for one with a text tower."""

    model: Any
    tokenizer: Any
    padding: str | bool
    length: int
    pooling: str
    place: Place

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        batch = self.tokenizer(list(texts), padding=self.padding, truncation=True,
                               max_length=self.length, return_tensors="pt").to(self.place.device)
        if self.pooling:
            hidden = self.model(**batch).last_hidden_state
            rows = _pooled(hidden, batch["attention_mask"], self.pooling)
        else:
            known = {k: batch[k] for k in ("input_ids", "attention_mask") if k in batch}
            rows = vectors(self.model.get_text_features(**known))
        unit: np.ndarray = functional.normalize(rows.float(), dim=1).cpu().numpy()
        return unit

    def cut(self, texts: Sequence[str]) -> np.ndarray:
        """Return whether each text has more tokens than are read [n] bool."""
        ids = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return np.array([len(tokens) > self.length for tokens in ids])


def _pooled(hidden: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """[n, tokens, F] to [n, F]: the mean over real tokens, in single precision, or the first."""
    if pooling == "cls":
        return hidden[:, 0]
    weight = mask[:, :, None].float()
    return (hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)


def _positions(config: Any) -> int:
    """How many tokens the model has positions for; RoBERTa's kind spends the first ones."""
    config = getattr(config, "text_config", None) or config
    most = int(getattr(config, "max_position_embeddings", 0) or 512)
    roberta = "roberta" in config.model_type or config.model_type in ("camembert", "mpnet")
    return most - 2 if roberta else most
