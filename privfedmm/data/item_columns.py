"""What the columns of an item table are called: one list of names for texts and for metadata."""

from __future__ import annotations

from collections.abc import Iterable

from privfedmm.data.raw.columns import key

METADATA = "metadata"  # the modality that the columns become
# Of an item's text, as they stand.
TITLES = ("title", "name")
YEARS_IN_TEXT = ("year",)
KINDS_IN_TEXT = ("genres", "genre", "categories", "category", "tags", "brand")
DESCRIPTIONS = ("description", "overview", "plot", "synopsis", "summary", "abstract")
# Of metadata, whatever their case, blanks, underscores, hyphens and dots (`key`).
KINDS = (
    *KINDS_IN_TEXT, "tag", "main_category", "main_cat", "sub_category", "sub_categories", "class",
    "keywords", "keyword", "topics", "topic", "subjects", "subject", "moods", "mood", "styles",
    "style", "themes", "theme", "section", "department", "product_group", "product_group_name",
    "product_type", "product_type_name", "item_type", "type", "store", "manufacturer", "studio",
    "studios", "publisher", "publishers", "developer", "developers", "author", "authors", "artist",
    "artists", "artist_name", "director", "directors", "actors", "cast", "starring", "creator",
    "creators", "language", "languages", "original_language", "country", "countries",
    "production_countries", "platform", "platforms", "format", "color", "colour", "material",
    "cuisine", "ingredients", "age_rating", "content_rating")
YEARS = (
    *YEARS_IN_TEXT, "release_year", "year_of_publication", "publication_year", "published_year",
    "original_publication_year", "release_date", "publication_date", "published_date",
    "date_published", "publish_date", "published", "pub_date", "first_release_date", "air_date",
    "date_first_available", "date", "released")


def known(columns: Iterable[str], names: tuple[str, ...]) -> list[str]:
    """Return the columns that have one of these names, in the order of the names.

    Of two columns that differ in case or punctuation alone both are there, in their own order.
    """
    place = {key(name): rank for rank, name in enumerate(names)}
    return sorted((c for c in columns if key(c) in place), key=lambda c: place[key(c)])
