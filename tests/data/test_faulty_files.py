"""Inputs on which data went wrong without a word: what is right is held here, one test a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from privfedmm.data import DataError, Dataset, Encoding, load
from privfedmm.encoders import EncoderSettings, open_picture
from tests.small_tables import ITEMS, delimited, rows


def read(folder: Path, k_core: int = 0, **encoders: object) -> Dataset:
    how = Encoding(EncoderSettings.model_validate(encoders), folder.parent / "cache")
    return load(str(folder), k_core=k_core, seed=0, encoding=how)


def shop(folder: Path, items: str | None = None, table: pd.DataFrame | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (rows() if table is None else table).to_csv(folder / "interactions.csv", index=False)
    listed = items or "item_id\n" + "".join(f"{i}\n" for i in range(ITEMS))
    (folder / "items.csv").write_text(listed, encoding="utf-8")
    return folder


def content(data: Dataset) -> str:
    assert data.summary is not None
    return next(line.says for line in data.summary.lines if line.kind == "content")


# A row longer than the header: columns never move ------------------------------------------------

LONGER = {
    "interactions.csv": delimited(",").replace(",timestamp", "", 1),
    "x.inter": delimited("\t", "user_id:token item_id:token rating:float timestamp:float").replace(
        "\ttimestamp:float", "", 1),
    "inter.csv": delimited(",", "userId itemId rating timestamp").replace(",timestamp", "", 1),
    "x.tsv": delimited("\t").replace("\ttimestamp", "", 1),
    "ratings.dat": delimited("::").replace("::timestamp", "", 1),
}


@pytest.mark.parametrize("name", LONGER)
def test_a_row_longer_than_the_header_is_refused_by_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LONGER[name])
    with pytest.raises(DataError, match=f"{name} line 2 has 4 fields, but 3 columns are named"):
        read(tmp_path)


def test_a_comma_in_a_title_is_refused_by_line(tmp_path: Path) -> None:
    listed = "item_id,title\n0,Rain, snow\n" + "".join(
        f"{i},Thing{i}\n" for i in range(1, ITEMS))
    with pytest.raises(DataError, match=r"items\.csv line 2 has 3 fields, but 2 columns"):
        read(shop(tmp_path / "set", listed))
    quoted = listed.replace("Rain, snow", '"Rain, snow"').replace(
        "1,Thing1", '1,"Thing\nof lines"')
    data = read(shop(tmp_path / "set", quoted), text_model="hashing")
    assert data.items["title"].tolist()[:2] == ["Rain, snow", "Thing\nof lines"]


def test_a_late_long_row_and_a_trailing_separator(tmp_path: Path) -> None:
    text = delimited(",")
    (tmp_path / "x.csv").write_text(text.replace("\n", ",\n"))
    assert read(tmp_path).num_interactions == len(rows())
    lines = text.splitlines()
    lines[20] += ",5"
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"x\.csv line 21 has 5 fields, but 4"):
        read(tmp_path)


# A stray quotation mark ---------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(5, 12), (5,)])
def test_a_mark_that_is_not_closed_on_its_line_is_refused(
    ends: tuple[int, ...], tmp_path: Path
) -> None:
    lines = delimited(",").splitlines()
    for number in ends:
        lines[number] = '"' + lines[number]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"interactions\.csv line 6 opens a quotation mark"):
        read(tmp_path)


def test_marks_within_a_field_and_in_tables_with_tabs_are_letters(tmp_path: Path) -> None:
    table = rows().assign(note='5" disc')
    (tmp_path / "x.csv").write_text("user_id,item_id,timestamp,note\n" + "".join(
        f"{u},{i},{t},{n}\n" for u, i, t, n in table[
            ["user_id", "item_id", "timestamp", "note"]].itertuples(index=False)))
    assert read(tmp_path).num_interactions == len(rows())
    (tmp_path / "x.csv").unlink()
    (tmp_path / "x.tsv").write_text(delimited("\t").replace("\n007", '\n"007'))
    assert '"007' in read(tmp_path).user_ids


# Times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "column"), [
    ("interactions.csv", "time"), ("interactions.csv", "Timestamp"),
    ("interactions.csv", " timestamp"), ("x.inter", "time:float"), ("inter.csv", "ts")])
def test_times_under_another_name_are_used(name: str, column: str, tmp_path: Path) -> None:
    typed = "user_id:token item_id:token rating:float" if ":" in column else (
        "user_id item_id rating")
    between = "\t" if name.endswith(".inter") else ","
    header = between.join([*typed.split(), column])
    (tmp_path / name).write_text(header + "\n" + delimited(between, None))
    assert read(tmp_path).protocol.split == "leave-one-out by time"


@pytest.mark.parametrize("order", ["item_id", "timestamp"])
def test_times_that_tie_do_not_call_a_split_by_time(order: str, tmp_path: Path) -> None:
    """In a file sorted by item every user's last one would be that of the highest id."""
    table = rows().sort_values(order, kind="stable")
    table["timestamp"] = 1_600_000_000 + table["user_id"].astype(int)
    data = read(shop(tmp_path / "set", table=table))
    assert data.train_age is None  # associations and the like are not switched on
    assert data.protocol.split == (
        "leave-one-out at random (seeded): 6 of 6 users have their last two interactions at one "
        "time")
    assert data.summary is not None
    assert any("6 of 6 users" in line for line in data.summary.sentences())
    highest = table.sort_values("item_id").groupby("user_id")["item_id"].last()
    assert [data.item_ids[t] for t in data.test] != highest.loc[list(data.user_ids)].tolist()
    # Under a budget nothing is decided by all rows at once: a user's own file order stands.
    private = load(str(tmp_path / "set"), k_core=0, seed=0, unit="user")
    assert private.train_age is not None and private.read_sha256 != data.read_sha256


def test_some_ties_are_counted(tmp_path: Path) -> None:
    table = rows().sort_values("timestamp", kind="stable")
    table.loc[table["user_id"] == "12", "timestamp"] = 1_600_000_000
    data = read(shop(tmp_path / "set", table=table))
    assert data.protocol.split == "leave-one-out by time" and data.summary is not None
    assert any("1 of 6 users have their last two" in line for line in data.summary.sentences())


# Content ------------------------------------------------------------------------------------------


def picture(n: int, mode: str = "RGB") -> Image.Image:
    """A black bar, longer with every item, on a ground that is clear or white."""
    shade = np.zeros((24, 16, 4), dtype=np.uint8)
    shade[3:5 + 2 * n, 2:9] = (0, 0, 0, 255)
    clear = Image.fromarray(shade)
    if mode == "RGBA":
        return clear
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert(mode)


def pictures(folder: Path, mode: str = "RGB", ending: str = "png") -> Path:
    (folder / "images").mkdir()
    for n in range(ITEMS):
        picture(n, mode).save(folder / "images" / f"{n}.{ending}")
    return folder


def test_pictures_alone_are_encoded(tmp_path: Path) -> None:
    data = read(pictures(shop(tmp_path / "set")), image_model="histogram")
    assert list(data.features) == ["image"]
    assert "image: no pretrained model" in content(data)


def test_shapes_on_a_clear_ground_are_seen(tmp_path: Path) -> None:
    """Black on transparent, with black behind: without the alpha channel all are one picture."""
    data = read(pictures(shop(tmp_path / "set"), "RGBA"), image_model="histogram")
    assert len(np.unique(data.features["image"].round(5), axis=0)) == ITEMS


def decoded(image: Image.Image, folder: Path, name: str, **more: Any) -> np.ndarray:
    image.save(folder / name, **more)
    return np.asarray(open_picture((folder / name).read_bytes(), name, "1", 10**8)).astype(int)


def test_pictures_are_decoded_as_they_are_shown(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    grey = decoded(Image.fromarray(ramp), tmp_path, "deep.png")
    assert np.abs(grey[:, :, 0] - ramp / 257).max() <= 1
    upright = picture(3, "RGB")
    exif = Image.Exif()
    exif[274] = 6  # turn by 90 degrees to show it
    turned = decoded(upright.rotate(90, expand=True), tmp_path, "turned.png", exif=exif)
    np.testing.assert_array_equal(turned, np.asarray(upright).astype(int))
    palette = picture(3, "RGBA").convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    shown = decoded(palette, tmp_path, "palette.png", transparency=palette.info["transparency"])
    assert shown[0, 0].tolist() == [255, 255, 255]


def test_files_of_features_are_read_under_any_name_or_named(tmp_path: Path) -> None:
    matrix = np.arange(ITEMS * 3).reshape(ITEMS, 3) ** 0.5
    for number, name in enumerate(("image_features.npy", "text.npy", "audio-emb.npy")):
        np.save(shop(tmp_path / str(number)) / name, matrix)
        assert f"from {name}" in content(read(tmp_path / str(number)))
    np.savez(shop(tmp_path / "packed") / "image_feat.npz", matrix)
    assert list(read(tmp_path / "packed").features) == ["image"]
    import torch

    torch.save(torch.from_numpy(matrix), shop(tmp_path / "torch") / "image_feat.pt")
    assert list(read(tmp_path / "torch").features) == ["image"]
    for name in ("x.inter", "inter.csv"):
        folder = tmp_path / f"numbered {name}"
        folder.mkdir()
        (folder / name).write_text(delimited("\t" if name == "x.inter" else ","))
        np.save(folder / "image_feat.npy", matrix)
        np.save(folder / "vggish.npy", matrix)
        # '007' is not the row 7, but it is a user; items are.
        assert sorted(read(folder).features) == ["image", "vggish"]
    np.savez(tmp_path / "packed" / "image_feat.npz", matrix, matrix)
    with pytest.raises(DataError, match=r"image_feat\.npz holds 2 things"):
        read(tmp_path / "packed")
    np.save(tmp_path / "0" / "image_feat.npy", matrix)
    with pytest.raises(DataError, match=r"image_feat\.npy and image_features\.npy both hold image"):
        read(tmp_path / "0")
    torch.save({"weights": torch.zeros(3), "step": 3}, tmp_path / "1" / "checkpoint.pt")
    assert "not read: checkpoint.pt (checkpoint.pt holds 2 things" in content(read(tmp_path / "1"))


def test_features_without_a_table_of_items_go_by_row_number(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "interactions.csv", index=False)
    matrix = (np.arange(ITEMS * 3).reshape(ITEMS, 3) ** 0.5).astype(np.float32)
    np.save(tmp_path / "smell_feat.npy", matrix)
    data = read(tmp_path)
    np.testing.assert_array_equal(data.features["smell"], matrix[data.item_ids.astype(int)])
    assert "no items.csv, so item n has row n" in content(data)
    assert load(str(tmp_path), k_core=0, seed=0, unit="user").num_items == ITEMS
    for wrong in ("09", str(ITEMS), "x"):
        rows().assign(item_id=rows()["item_id"].replace("3", wrong)).to_csv(
            tmp_path / "interactions.csv", index=False)
        with pytest.raises(DataError, match=f"smell_feat.npy has no items.csv .* item {wrong} is"):
            read(tmp_path)


def test_rows_of_zeros_are_told(tmp_path: Path) -> None:
    matrix = np.arange(ITEMS * 3).reshape(ITEMS, 3) ** 0.5
    matrix[[2, 5]] = 0
    np.save(shop(tmp_path / "set") / "image_feat.npy", matrix)
    assert "2 of 9 items have a row of zeros for image" in content(read(tmp_path / "set"))
    assert "image_mask.npy" in content(read(tmp_path / "set"))
    matrix[[1, 2, 5]] = 7
    np.save(tmp_path / "set" / "image_feat.npy", matrix)
    assert "3 items share their image row with another (7 diff" in content(read(tmp_path / "set"))


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda x: np.ones_like(x), "nothing varies in the image features"),
    (lambda x: x * 1e30, "of no scale to work with"),
    (lambda x: x * 1e-30, "of no scale to work with"),
    (lambda x: 1e8 + x, "of no scale to work with|nothing varies")])
def test_features_without_variation_are_refused(
    change: object, sentence: str, tmp_path: Path
) -> None:
    matrix = np.random.default_rng(3).normal(size=(ITEMS, 8))
    np.save(shop(tmp_path / "set") / "image_feat.npy",
            change(matrix).astype(np.float32))  # type: ignore[operator]
    with pytest.raises(DataError, match=sentence):
        read(tmp_path / "set")


def titles(folder: Path, words: list[str]) -> Path:
    return shop(folder, "item_id,title\n" + "".join(f"{i},{t}\n" for i, t in enumerate(words)))


@pytest.mark.parametrize("word", ["The", "\U0001f600", "\u200b", "a b c"])
def test_a_text_without_a_word_is_a_missing_one(word: str, tmp_path: Path) -> None:
    folder = titles(tmp_path / "set", [word, *(f"Thing{n} number{n}" for n in range(ITEMS - 1))])
    with pytest.raises(DataError, match=r"item 0: its text in items\.csv holds nothing that the"):
        read(folder, text_model="hashing")
    data = read(folder, text_model="hashing", allow_missing=True)
    assert data.missing == {"text": 1, "every": 1}
    assert "1 items lack it" in content(data)


def test_texts_that_give_one_row_are_counted(tmp_path: Path) -> None:
    words = ["Thing of wood", "The thing of wood!", *(f"Other {n}x" for n in range(ITEMS - 2))]
    data = read(titles(tmp_path / "set", words), text_model="hashing")
    assert "1 different contents have the row of another" in content(data)


# Filters, lists -----------------------------------------------------------------------------------


def test_what_a_core_leaves_is_told(tmp_path: Path) -> None:
    few = pd.DataFrame({"user_id": [f"u{n // 2}" for n in range(40)],
                        "item_id": [str(n % ITEMS) for n in range(40)],
                        "rating": 1, "timestamp": 1_500_000_000})
    data = read(shop(tmp_path / "set", table=pd.concat([rows(), few])), k_core=3)
    assert data.summary is not None
    line = next(line for line in data.summary.lines if line.kind == "filter")
    assert line.text() == "3-core; 6 of 26 users, 6 of 9 items, 25 of 70 interactions are left"


@pytest.mark.parametrize("name", ["item_id_list:token_seq", "item_list", "movieIdList"])
def test_lists_of_items_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(f"user_id:token\t{name}\titem_id:token\n" + "".join(
        f"{u}\t1 2\t{i}\n" for u, i in rows()[["user_id", "item_id"]].itertuples(index=False)))
    with pytest.raises(DataError, match=r"has a column \w+ of lists of items, .* one line an"):
        read(tmp_path)
