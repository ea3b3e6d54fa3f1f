"""What columns are called: one list of names for all layouts, files and tables in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privfedmm.data.raw.errors import DataError

# Our name -> the names it is recognised by, the preferred one first. Case, blanks, underscores,
# hyphens and dots do not matter: userId, USER_ID and "user id" are all user_id.
NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        "user_id", "user", "uid", "usr", "user_name", "reviewer_id", "customer_id", "customer",
        "visitor_id", "member_id", "account_id", "profile_id", "player_id"),
    "item": (
        "item_id", "item", "iid", "movie_id", "movie", "film_id", "parent_asin", "asin",
        "product_id", "product", "article_id", "book_id", "isbn", "song_id", "track_id",
        "artist_id", "video_id", "news_id", "business_id", "gmap_id", "game_id", "app_id",
        "recipe_id", "anime_id", "poi_id", "venue_id"),
    "rating": (
        "rating", "ratings", "overall", "stars", "score", "label", "like", "liked", "click",
        "clicked", "is_click", "feedback", "preference", "weight", "play_count", "plays"),
    "time": (
        "timestamp", "time", "ts", "datetime", "date", "unix_timestamp", "unix_time",
        "unix_review_time", "t_dat", "created_at", "event_time", "interaction_time",
        "rating_timestamp", "rating_time", "rated_at"),
    "split": ("split", "split_label", "x_label"),
}
NEEDED = ("user", "item")
# Beside one of those on the right, the one on the left is the same told less well: no question.
_WEAKER: Mapping[str, tuple[str, ...]] = {
    "asin": ("parentasin",), "username": ("userid", "uid"), "customer": ("customerid",),
    "movie": ("movieid",), "product": ("productid",)}
_TYPES = re.compile(r":(token|float|token_seq|float_seq)$")


@dataclass(frozen=True)
class Columns:
    """These are the columns of a table that are read.

    found: our name -> the table's. unused: the other columns, in the table's order. guessed: our
    names of which several columns might have been meant; the preferred one is taken.
    """

    found: Mapping[str, str]
    unused: tuple[str, ...]
    guessed: tuple[str, ...] = ()

    def words(self) -> str:
        """Return which column is what, and which are not read."""
        read = ", ".join(f"{ours} = {theirs}" for ours, theirs in self.found.items())
        return read + (f"; not used: {', '.join(self.unused)}" if self.unused else "")


def plain(name: str) -> str:
    """Return a column's name without the type that RecBole writes behind it, and without blanks."""
    return _TYPES.sub("", str(name).strip())


def key(name: str) -> str:
    """Return what of a column's name decides: its letters and digits, in lower case."""
    return re.sub(r"[\s_.\-]", "", plain(name)).lower()


_KEYS = {ours: {key(name): rank for rank, name in enumerate(names)}
         for ours, names in NAMES.items()}


def roles(names: Sequence[str]) -> set[str]:
    """Return which of our names some of the columns are recognised as."""
    keys = {key(name) for name in names}
    return {ours for ours, known in _KEYS.items() if keys & known.keys()}


def column_of(names: Sequence[str], ours: str) -> str | None:
    """Return the column that is recognised as `ours`, the preferred of several; None for none."""
    there = candidates(names, ours)
    return there[0] if there else None


def find_columns(
    names: Sequence[str], given: Mapping[str, str], source: str,
    needed: Sequence[str] = NEEDED,
) -> Columns:
    """Return which column of a table is what; `given` wins over the names that are known.

    names: the table's columns. source: what sentences call the table. Raises DataError, listing
    the columns there are, for a column that is given and not there, one that is needed and not
    found, and several that may be the user or the item.
    """
    _refuse_strange(given)
    listed = ", ".join(names) or "none"
    found: dict[str, str] = {}
    guessed = []
    for ours in NAMES:
        if ours in given:
            found[ours] = _given(names, ours, given[ours], source, listed)
            continue
        taken = set(found.values()) | set(given.values())
        there = [name for name in candidates(names, ours) if name not in taken]
        if len(there) > 1 and ours in needed:
            raise DataError(f"{source} has the columns {' and '.join(there)}; say which is the "
                            f"{ours} with {_how(ours, there[0])}")
        if len(there) > 1:
            guessed.append(ours)
        if there:
            found[ours] = there[0]
        elif ours in needed:
            some = ", ".join(NAMES[ours][:4])
            raise DataError(f"{source} has no column for the {ours} ({some} and others are "
                            f"known); its columns are {listed}; say which with "
                            f"{_how(ours, 'NAME')}")
    both = [ours for ours, theirs in found.items() if list(found.values()).count(theirs) > 1]
    if both:
        raise DataError(f"{source}: the column {found[both[0]]} is given for {' and '.join(both)}; "
                        "name one column for each")
    used = set(found.values())
    return Columns(found, tuple(n for n in names if n not in used), tuple(guessed))


def refuse_lists(names: Sequence[str], source: str) -> None:
    """Refuse a table whose lines hold several items each. Raises DataError naming the column."""
    for name in names:
        bare = key(name).removesuffix("list")
        if bare != key(name) and (bare in _KEYS["item"] or bare + "id" in _KEYS["item"]):
            raise DataError(f"{source} has a column {plain(name)} of lists of items, which would "
                            "be dropped; write one line an interaction, with user, item and time, "
                            "and leave that column out")


def candidates(names: Sequence[str], ours: str) -> list[str]:
    """Return the columns that may be `ours` by their names, the preferred one first."""
    known = _KEYS[ours]
    there = sorted((n for n in names if key(n) in known), key=lambda name: known[key(name)])
    keys = {key(name) for name in there}
    return [n for n in there if not keys.intersection(_WEAKER.get(key(n), ()))]


def _given(names: Sequence[str], ours: str, theirs: str, source: str, listed: str) -> str:
    if theirs in names:
        return theirs
    alike = [name for name in names if plain(name) == plain(theirs)]
    if not alike:
        raise DataError(f"{source} has no column {theirs!r}, which {_how(ours, theirs)} gives; its "
                        f"columns are {listed}")
    return alike[0]


def _refuse_strange(given: Mapping[str, str]) -> None:
    strange = [name for name in given if name not in NAMES]
    if strange:
        raise DataError(f"columns names {strange[0]!r}, which is none of {', '.join(NAMES)}; "
                        "take it out or correct it")


def _how(ours: str, theirs: str) -> str:
    return f"--columns {ours}={theirs} (in Python columns={{{ours!r}: {theirs!r}}})"
