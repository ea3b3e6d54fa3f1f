"""Raw folders: cache, texts, pictures, and every fault with and without leave to go on."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from privfedmm.data import DataError, Dataset, Encoding, load
from privfedmm.encoders import EncoderError, EncoderSettings, FeatureCache

ITEMS, USERS = 12, 8


def picture(number: int, size: int = 40) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with titles, plots and JPEGs, and no feature file."""
    folder = tmp_path / "shop"
    (folder / "images").mkdir(parents=True)
    rows = [f"u{u},i{(u + k) % ITEMS},{k}" for u in range(USERS) for k in range(6)]
    (folder / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    write_items(folder, [f"Film {i}" for i in range(ITEMS)])
    for i in range(ITEMS):
        picture(i).save(folder / "images" / f"i{i}.jpg")
    return folder


def write_items(folder: Path, titles: list[str]) -> None:
    rows = [f"i{i},{t},{f'about word{i} and thing{i}' if t else ''}"
            for i, t in enumerate(titles)]
    (folder / "items.csv").write_text("item_id,title,plot\n" + "\n".join(rows) + "\n", "utf-8")


def read(folder: Path, said: list[str] | None = None, **more: object) -> Dataset:
    settings = EncoderSettings.model_validate(
        {"text_model": "hashing", "image_model": "histogram", **more})
    how = Encoding(settings, folder.parent / "cache", (said if said is not None else []).append)
    return load(str(folder), k_core=0, seed=0, encoding=how)


def test_texts_and_pictures_become_features(raw: Path) -> None:
    data = read(raw)
    assert {n: x.shape for n, x in data.features.items()} == {
        "text": (ITEMS, 256), "image": (ITEMS, 96)}
    assert "no pretrained model" in data.feature_notes["text"]
    assert "title, plot" in data.feature_notes["text"]
    assert data.present == {} and data.missing == {}


def test_zip_gives_what_the_folder_gives(raw: Path) -> None:
    plain = read(raw)
    with zipfile.ZipFile(raw / "images.zip", "w") as archive:
        for file in sorted((raw / "images").iterdir()):
            archive.write(file, f"posters/{file.name}")
            file.unlink()
    (raw / "images").rmdir()
    assert read(raw).sha256 == plain.sha256


def test_second_start_encodes_nothing_and_a_change_only_itself(raw: Path) -> None:
    said: list[str] = []
    first = read(raw, said)
    assert sum("to encode" in line for line in said) == 2
    said.clear()
    assert read(raw, said).sha256 == first.sha256
    assert said == []
    picture(99).save(raw / "images" / "i3.jpg")
    changed = read(raw, said)
    assert next(line for line in said if "to encode" in line).startswith("image: 1 to encode")
    same = (changed.features["image"] == first.features["image"]).all(axis=1)
    assert np.flatnonzero(~same).tolist() == [list(first.item_ids).index("i3")]
    np.testing.assert_array_equal(changed.features["text"], first.features["text"])
    assert changed.sha256 != first.sha256


def test_equal_contents_are_encoded_once(raw: Path) -> None:
    write_items(raw, ["Twin"] * 6 + [f"Film {i}" for i in range(6, ITEMS)])
    text = (raw / "items.csv").read_text("utf-8").splitlines()
    text[1:7] = [f"i{i},Twin,Twin" for i in range(6)]
    (raw / "items.csv").write_text("\n".join(text) + "\n", "utf-8")
    said: list[str] = []
    read(raw, said, image_model="none")
    assert said[0].startswith(f"text: {ITEMS - 5} to encode")


def test_feature_files_win(raw: Path) -> None:
    np.save(raw / "audio_feat.npy", np.eye(ITEMS, 3, dtype=np.float32))
    said: list[str] = []
    data = read(raw, said)
    assert list(data.features) == ["audio"] and said == []


def test_chosen_columns_make_the_text(raw: Path) -> None:
    by_title = read(raw, text_columns=["title"], image_model="none")
    assert "columns title" in by_title.feature_notes["text"]
    with pytest.raises(DataError, match="no column smell"):
        read(raw, text_columns=["smell"])


def test_damaged_cache_is_named(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "model")
    cache.add(["a", "b"], np.ones((2, 3), np.float32), np.array([True, False]))
    again = FeatureCache(tmp_path, "model").get("a")
    assert again is not None and again.tolist() == [1, 1, 1]
    assert [FeatureCache(tmp_path, "model").cut(name) for name in "abc"] == [True, False, None]
    assert FeatureCache(tmp_path, "another model").get("a") is None
    shard = next(tmp_path.rglob("*.npz"))
    whole = shard.read_bytes()
    for damaged in (whole[:100], whole.replace(np.float32(1).tobytes(), np.float32(2).tobytes())):
        shard.write_bytes(damaged)
        with pytest.raises(EncoderError, match="delete that file"):
            FeatureCache(tmp_path, "model")


def _huge(folder: Path) -> None:
    Image.new("1", (9000, 9000)).save(folder / "images" / "i4.png")
    (folder / "images" / "i4.jpg").unlink()


def _corrupt(folder: Path) -> None:
    file = folder / "images" / "i4.jpg"
    file.write_bytes(file.read_bytes()[:-200])


def _other_kind(folder: Path) -> None:
    buffer = io.BytesIO()
    picture(4).save(buffer, "PNG")
    (folder / "images" / "i4.jpg").write_bytes(buffer.getvalue())


def _other_ending(folder: Path) -> None:
    (folder / "images" / "i4.jpg").rename(folder / "images" / "i4.docx")


def _no_entry(folder: Path) -> None:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for file in sorted((folder / "images").iterdir()):
            if file.stem != "i4":
                archive.write(file, file.name)
            file.unlink()
    (folder / "images").rmdir()


def _bad_entry(folder: Path) -> None:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for file in sorted((folder / "images").iterdir()):
            archive.write(file, file.name)
            file.unlink()
        start = archive.getinfo("i4.jpg").header_offset
    (folder / "images").rmdir()
    data = bytearray((folder / "images.zip").read_bytes())
    data[start + 60] ^= 0xFF  # within the picture: the checksum no longer fits
    (folder / "images.zip").write_bytes(bytes(data))


def _empty_text(folder: Path) -> None:
    write_items(folder, [f"Film {i}" if i != 4 else "" for i in range(ITEMS)])


def _latin_text(folder: Path) -> None:
    data = (folder / "items.csv").read_bytes().replace(b"Film 4", "Fílm 4".encode("latin-1"))
    (folder / "items.csv").write_bytes(data)


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "corrupt picture": (_corrupt, "image", r"item i4: i4\.jpg cannot be decoded"),
    "wrong content": (_other_kind, "image", r"item i4: i4\.jpg is not a JPEG picture"),
    "wrong ending": (_other_ending, "image", r"item i4: i4\.docx .* no picture's"),
    "huge picture": (_huge, "image", r"item i4: i4\.png has more than 50000000 pixels"),
    "missing zip entry": (_no_entry, "image", r"item i4 has no picture: images\.zip holds no i4"),
    "damaged zip entry": (_bad_entry, "image", r"item i4: i4\.jpg in images\.zip cannot be read"),
    "empty text": (_empty_text, "text", "item i4 has no text"),
    "not UTF-8": (_latin_text, "text", "item i4: its text in items.csv is not UTF-8"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_names_the_item_and_stops_unless_allowed(raw: Path, name: str) -> None:
    spoil, modality, says = FAULTS[name]
    spoil(raw)
    with pytest.raises(DataError, match=says):
        read(raw)
    data = read(raw, allow_missing=True)
    place = list(data.item_ids).index("i4")
    assert np.flatnonzero(~data.present[modality]).tolist() == [place]
    assert not data.features[modality][place].any()
    assert data.missing == {modality: 1, "every": 0}
    assert "item i4" in data.protocol.note


def test_a_zip_that_is_none_and_two_pictures_are_named(raw: Path) -> None:
    picture(1).save(raw / "images" / "i1.png")
    with pytest.raises(DataError, match="item i1 has two pictures"):
        read(raw, allow_missing=True)
    for file in (raw / "images").iterdir():
        file.unlink()
    (raw / "images").rmdir()
    (raw / "images.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a zip file"):
        read(raw)


def test_mask_file_marks_missing_rows(raw: Path) -> None:
    matrix = np.random.default_rng(1).normal(size=(ITEMS, 4)).astype(np.float32)
    matrix[3] = np.nan
    np.save(raw / "audio_feat.npy", matrix)
    with pytest.raises(DataError, match=r"row 3 .* mark it missing in audio_mask\.npy"):
        read(raw)
    mask = np.ones(ITEMS, dtype=bool)
    mask[3] = False
    np.save(raw / "audio_mask.npy", mask)
    data = read(raw)
    place = list(data.item_ids).index("i3")
    assert not data.features["audio"][place].any()
    assert np.flatnonzero(~data.present["audio"]).tolist() == [place]
    np.save(raw / "audio_mask.npy", mask.astype(np.float32))
    with pytest.raises(DataError, match="one true or false"):
        read(raw)
    np.save(raw / "audio_mask.npy", mask[:-1])
    with pytest.raises(DataError, match="has 11 values but audio_feat"):
        read(raw)
    np.save(raw / "audio_mask.npy", np.zeros(ITEMS, dtype=bool))
    with pytest.raises(DataError, match="no item that is left has audio"):
        read(raw)


def test_masks_serve_layouts_by_row_number_too(tmp_path: Path) -> None:
    folder = tmp_path / "gfmfr"
    folder.mkdir()
    rows = [f"{u},{(u + k) % ITEMS}" for u in range(USERS) for k in range(6)]
    (folder / "inter.csv").write_text("userID,itemID\n" + "\n".join(rows) + "\n", "utf-8")
    mask = np.arange(ITEMS) != 5
    matrix = np.where(mask[:, None], 1.0, np.nan) * np.arange(1, ITEMS + 1)[:, None]
    np.save(folder / "image_features.npy", matrix)
    np.save(folder / "image_mask.npy", mask)
    data = read(folder)
    assert data.item_ids[~data.present["image"]].tolist() == ["5"]
