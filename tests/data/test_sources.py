"""Known names: which texts name a data set, and how one of somebody else's is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from privfedmm.data import (
    SOURCES,
    DataError,
    Dataset,
    Fetch,
    Request,
    Source,
    available,
    is_named,
    load,
)
from tests.commands import cli


@pytest.mark.parametrize("text", ["planted", "planted:", "planted:40", "cinema", "ml-100k"])
def test_known_names(text: str) -> None:
    assert is_named(text)


@pytest.mark.parametrize("text", [
    "", "planted:x", "planted:-1", "planted:4:5", "ml-100k:", "ml-100k:3", "Planted", ":4"])
def test_other_texts_are_folders(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_named(text)
    with pytest.raises(DataError, match=r"no data set or folder|fits no known layout"):
        load(text, k_core=0, seed=0)


def test_all_known_names_are_listed_in_their_order() -> None:
    names = ["planted", "cinema", "planted:N", "ml-100k"]
    assert list(available()) == names == list(SOURCES.names())
    assert all(available().values())


@pytest.mark.parametrize("text", ["planted", "planted:40", "cinema"])
def test_generated_sets_take_no_part_of_their_users(text: str) -> None:
    with pytest.raises(DataError, match="max_users"):
        load(text, k_core=0, seed=0, max_users=5)


@pytest.mark.parametrize("text", [s.name.replace(":N", ":40") for s in map(
    SOURCES.get, SOURCES.names()) if s.invented])
@pytest.mark.parametrize(("said", "flags"), [
    ("min_rating", ("--min-rating", "3")), ("duplicates", ("--duplicates", "error")),
    ("columns", ("--columns", "user=a")), ("k_core", ("--k-core", "7"))])
def test_generated_sets_have_nothing_to_select_from(
    text: str, said: str, flags: tuple[str, ...]
) -> None:
    refused = cli("data", "check", text, *flags)
    assert refused.returncode == 2 and said in refused.stderr


def _halves(request: Request) -> Dataset:
    """The planted set with half as many users."""
    return load(f"planted:{int(request.size or '40') // 2}", k_core=0, seed=0)


def test_a_registered_data_set_is_loaded_by_name() -> None:
    halves = SOURCES.register(Source("halves:N", "half of the planted set", _halves))
    try:
        assert is_named("halves:60") and not is_named("halves") and not is_named("halves:x")
        assert load("halves:60", k_core=0, seed=0).num_users == 30
        assert available()["halves:N"] == "half of the planted set"
    finally:
        SOURCES.forget(halves.name)
    assert not is_named("halves:60")


def _copied(cache: Path) -> Path:
    """Into the cache, as if it came from elsewhere."""
    folder = cache / "halves"
    if (cache / "offline").exists():
        raise DataError("no network")
    folder.mkdir(parents=True)
    return folder


def test_a_registered_data_set_is_fetched_with_its_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path))
    halves = SOURCES.register(Source(
        "halves:N", "half of the planted set", _halves, Fetch(_copied, "Do as you like.")))
    try:
        done = cli("data", "get", "halves:60")
        assert done.returncode == 0, done.stderr
        assert str(tmp_path / "halves") in done.stdout and "Do as you like." in done.stdout
        assert (tmp_path / "halves").is_dir()
        refused = cli("data", "get", "planted")
        assert refused.returncode == 2
        assert "'planted' cannot be fetched; what can be: ml-100k, halves:N" in refused.stderr
        (tmp_path / "offline").touch()
        failed = cli("data", "get", "halves:60")
        assert (failed.returncode, failed.stderr) == (2, "privfedmm: data get: no network\n")
    finally:
        SOURCES.forget(halves.name)


def test_what_lies_in_the_cache_comes_with_its_terms_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVFEDMM_CACHE", str(tmp_path))
    (tmp_path / "ml-100k").mkdir()
    for name in ("ml-100k.inter", "ml-100k.item"):
        (tmp_path / "ml-100k" / name).touch()
    done = cli("data", "get", "ml-100k")
    assert done.returncode == 0, done.stderr
    assert f"ml-100k is in {tmp_path / 'ml-100k'}" in done.stdout
    assert "GroupLens Research" in done.stdout and "privfedmm sweep headline" in done.stdout
