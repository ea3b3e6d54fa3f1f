"""A folder with one SQLite database of interactions, as an application leaves it behind."""

import sqlite3
from pathlib import Path

import pandas as pd

from privfedmm.data import DataError, Layout, Raw
from privfedmm.data.raw import Origin, Reading, interactions

FILE, QUERY = "interactions.db", "SELECT user, item, time FROM interactions ORDER BY rowid"


def read(folder: Path, reading: Reading) -> Raw:
    """Read the table `interactions` (user, item, time), in the order of its rows."""
    path = folder / FILE
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            fetched = database.execute(QUERY).fetchall()
        finally:
            database.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{FILE} is no database with a table interactions (user, item, time): "
                        f"{error}") from error
    table = pd.DataFrame(fetched, columns=["user", "item", "time"]).astype(str)
    columns = {name: name for name in table.columns}
    rows = interactions(table, Origin(FILE, first=1), columns, {}, reading)
    items = pd.DataFrame(index=pd.Index(rows.frame["item"].unique()))
    return Raw(folder.name, FILE, rows.frame, items, lines=list(rows.lines),
               everyone=rows.everyone)


SQLITE = Layout(
    name="SQLite", summary=f"{FILE} with a table interactions (user, item, time)",
    reference="sqlite.org", recognises=lambda folder: (folder / FILE).exists(), read=read,
    files=(FILE,))
