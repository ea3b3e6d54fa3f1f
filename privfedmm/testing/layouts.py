"""The contract of a data layout: subclass it in your tests, name your layout, and say how such a
folder is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from privfedmm.data import LAYOUTS, DataError, Layout
from privfedmm.data.prepare import prepare
from privfedmm.data.raw import AS_IT_IS, Reading

# A user, an item and a time: one interaction of a folder that the contract asks for.
Interaction = tuple[str, str, int]
Write = Callable[[Path, Sequence[Interaction]], None]

# '007' and '7' are two users to whom reads ids as text, and one to whom reads them as numbers.
USERS = ("007", "7", "ann", "4", "1e3", "user 6")
ITEMS, EACH = 9, 5


def sample() -> list[Interaction]:
    """Return EACH interactions for every user, items by number, in an order that is not of time."""
    rows = [(user, str((u + k * (1 + u % 2)) % ITEMS), 100 + 10 * k + u)
            for u, user in enumerate(USERS) for k in range(EACH)]
    return [rows[n] for n in np.random.default_rng(7).permutation(len(rows))]


def write_ours(folder: Path, rows: Sequence[Interaction]) -> None:
    """Write a folder in our own layout, with items.csv and features of a smell."""
    _table(folder / "interactions.csv", ",", "user_id,item_id,timestamp", rows)
    listed = "".join(f"{item},Title {item}\n" for item in range(ITEMS))
    (folder / "items.csv").write_text("item_id,title\n" + listed, encoding="utf-8")
    np.save(folder / "smell_feat.npy", _features())


def write_recbole(folder: Path, rows: Sequence[Interaction]) -> None:
    """Write a folder of RecBole's atomic files."""
    header = "user_id:token\titem_id:token\ttimestamp:float"
    _table(folder / "toy.inter", "\t", header, rows)


def write_mmrec(folder: Path, rows: Sequence[Interaction]) -> None:
    """Write a folder in MMRec's layout, with features of text and pictures."""
    _table(folder / "toy.inter", "\t", "userID\titemID\ttimestamp", rows)
    for modality in ("text", "image"):
        np.save(folder / f"{modality}_feat.npy", _features())


def write_gfmfr(folder: Path, rows: Sequence[Interaction]) -> None:
    """Write a folder in GFMFR's layout, with features of text and pictures."""
    _table(folder / "inter.csv", ",", "userID,itemID,timestamp", rows)
    for modality in ("text", "image"):
        np.save(folder / f"{modality}_features.npy", _features())


WRITERS: dict[str, Write] = {
    "ours": write_ours, "RecBole": write_recbole, "MMRec": write_mmrec, "GFMFR": write_gfmfr,
}
# What a folder may hold beside sound interactions that must be refused.
BAD_ROWS: dict[str, Sequence[Interaction]] = {
    "an empty user id": [("", "0", 900)],
    "an empty item id": [("ann", "", 900)],
    "a negative user id": [("-3", "0", 900)],
}


class LayoutContract(ABC):
    """Checks what every layout must do.

    Set `layout` and `write` in a subclass whose name begins with Test:

        class TestMine(LayoutContract):
            layout = MINE

            def write(self, folder, rows):
                ...

    Items are numbered from 0, because some layouts know items by the number of a feature row.
    """

    layout: ClassVar[Layout]

    @abstractmethod
    def write(self, folder: Path, rows: Sequence[Interaction]) -> None:
        """Write these interactions into an empty folder, in this order, as your layout has it.

        Write the ids as they are, also those that your layout must refuse.
        """

    def test_it_says_what_it_is(self) -> None:
        """Check that name, summary and reference are not empty.

        The summary is shown for folders that fit no layout.
        """
        for part in ("name", "summary", "reference"):
            assert getattr(self.layout, part).strip(), f"{part} of the layout is empty"

    def test_it_recognises_its_own_folders_only(self, tmp_path: Path) -> None:
        """Check that the layout claims its own folders and no other's.

        A folder that fits several layouts is refused.
        """
        assert not self.layout.recognises(tmp_path), "an empty folder is nobody's"
        for name, write in WRITERS.items():
            if name != self.layout.name:
                (tmp_path / name).mkdir()
                write(tmp_path / name, sample())
                assert not self.layout.recognises(tmp_path / name), (
                    f"this folder is in the layout {name}")
        folder = self._folder(tmp_path)
        assert self.layout.recognises(folder)
        for other in LAYOUTS:
            if other.name != self.layout.name:
                assert not other.recognises(folder), f"{other.name} claims the folder too"

    def test_it_names_the_files_of_interactions(self, tmp_path: Path) -> None:
        """Check that the patterns find the files.

        They are refused where users' rows must not be.
        """
        folder = self._folder(tmp_path)
        for pattern in self.layout.files:
            assert "/" not in pattern, f"{pattern} is no name of a file in the folder"
        assert bool(self.layout.interaction_files(folder)) == bool(self.layout.files)

    def test_a_catalogue_is_no_ones_rows(self, tmp_path: Path) -> None:
        """Check that a catalogue, where there is one, is the same whoever has rows.

        A budget takes its items from it, and must not tell of anybody's rows by them.
        """
        found = []
        for name, rows in (("all", sample()), ("few", sample()[:4])):
            (tmp_path / name).mkdir()
            self.write(tmp_path / name, rows)
            raw = self.layout.read(tmp_path / name, AS_IT_IS)
            assert raw.catalogue is None or raw.frame["item"].isin(raw.catalogue.index).all()
            assert raw.catalogue is None or self.layout.lists_items
            found.append(None if raw.catalogue is None else raw.catalogue.index.tolist())
        assert found[0] == found[1]

    def test_ids_are_text_and_rows_keep_their_order(self, tmp_path: Path) -> None:
        """Check that '007' is another user than '7', and that rows keep their order.

        Rows at equal times are split by their order.
        """
        frame = self.layout.read(self._folder(tmp_path), AS_IT_IS).frame
        pairs = list(zip(frame["user"], frame["item"], strict=True))
        assert pairs == [(user, item) for user, item, _ in sample()]
        assert all(isinstance(part, str) for pair in pairs for part in pair)
        assert frame["line"].is_monotonic_increasing and frame["line"].is_unique

    def test_items_and_features_belong_together(self, tmp_path: Path) -> None:
        """Check that every item is in the item table, and every feature row has the id of its item.
        """
        raw = self.layout.read(self._folder(tmp_path), AS_IT_IS)
        assert raw.items.index.is_unique
        assert set(raw.frame["item"]) <= set(raw.items.index)
        for modality, (ids, matrix) in raw.features.items():
            assert set(raw.frame["item"]) <= set(ids.tolist()), modality
            assert matrix.shape[0] == len(ids) and matrix.dtype == np.float32, modality
            assert np.isfinite(matrix).all(), modality
        for modality, mask in raw.present.items():
            assert mask.dtype == np.bool_, modality
            assert mask.shape == (len(raw.features[modality][0]),), modality

    def test_a_second_read_gives_the_same_data(self, tmp_path: Path) -> None:
        """Check that the hash names the data: neither the reading nor the folder's place is in it.
        """
        hashes = set()
        for place in ("one", "two"):
            folder = self._folder(tmp_path, place)
            hashes |= {prepare(self.layout.read(folder, AS_IT_IS), 0, 0).sha256 for _ in range(2)}
        assert len(hashes) == 1

    def test_times_decide_who_is_held_out(self, tmp_path: Path) -> None:
        """Check that a user's latest interaction is the test item, where the layout reads times."""
        raw = self.layout.read(self._folder(tmp_path), AS_IT_IS)
        if "time" not in raw.frame or "split" in raw.frame or raw.given_test is not None:
            return
        data = prepare(raw, 0, 0)
        latest = {user: item for user, item, _ in sorted(sample(), key=lambda row: row[2])}
        found = {str(user): str(data.item_ids[item])
                 for user, item in zip(data.user_ids, data.test, strict=True)}
        assert found == latest

    @pytest.mark.parametrize("fault", BAD_ROWS)
    def test_faulty_rows_get_a_sentence(self, fault: str, tmp_path: Path) -> None:
        """Check that a fault in a row is refused, with a sentence that names the file."""
        self._refused(self._folder(tmp_path, rows=[*sample(), *BAD_ROWS[fault]]))

    def test_pairs_that_stand_twice_are_taken_as_asked(self, tmp_path: Path) -> None:
        """Check that the last row of a pair is kept, or the first, or that neither may be."""
        user, item, _ = sample()[3]
        folder = self._folder(tmp_path, rows=[*sample(), (user, item, 900)])
        lines = {}
        choices: tuple[Literal["first", "last"], ...] = ("first", "last")
        for kept in choices:
            frame = self.layout.read(folder, Reading(duplicates=kept)).frame
            assert len(frame) == len(sample()), "one row of the pair is dropped"
            same = (frame["user"] == user) & (frame["item"] == item)
            lines[kept] = int(frame[same]["line"].iloc[0])
        assert lines["last"] > lines["first"]
        with pytest.raises(DataError, match="already"):
            self.layout.read(folder, Reading(duplicates="error"))

    def test_a_folder_without_interactions_gets_a_sentence(self, tmp_path: Path) -> None:
        """Check that a folder without interactions is refused: it has nothing to learn from."""
        self._refused(self._folder(tmp_path, rows=[]))

    def test_damaged_files_get_a_sentence(self, tmp_path: Path) -> None:
        """Check that bytes that are no text after the first line bring no traceback, in any file.
        """
        folder = self._folder(tmp_path)
        names = self.layout.interaction_files(folder) or [p.name for p in folder.iterdir()]
        for name in names:
            file = folder / name
            first = file.read_bytes().partition(b"\n")[:2]
            file.write_bytes(b"".join(first) + b"\xff\xfe\x00\n" * 3)
        self._refused(folder)

    def _folder(
        self, parent: Path, name: str = "mine", rows: Sequence[Interaction] | None = None
    ) -> Path:
        folder = parent / name
        folder.mkdir()
        self.write(folder, sample() if rows is None else rows)
        return folder

    def _refused(self, folder: Path) -> None:
        with pytest.raises(DataError) as caught:
            prepare(self.layout.read(folder, AS_IT_IS), 0, 0)
        sentence = str(caught.value)
        assert "\n" not in sentence
        assert any(p.name in sentence for p in folder.iterdir()), f"no file named in: {sentence}"


def _table(path: Path, separator: str, header: str, rows: Sequence[Interaction]) -> None:
    lines = [header, *(separator.join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _features() -> np.ndarray:
    return (np.arange(ITEMS * 3).reshape(ITEMS, 3) ** 0.5).astype(np.float32)
