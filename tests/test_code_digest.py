"""What a result's key knows of other packages' code."""

from __future__ import annotations

from pathlib import Path

import pytest

from privfedmm.base.code_digest import foreign_code
from tests.installed import installed


@pytest.mark.parametrize("file", ["{name}.py", "{name}/__init__.py", "{name}/deep/part.py"])
def test_a_change_of_a_registered_package_changes_the_digest(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of one module was passed over: its change left an old pass in force."""
    name = "registered_" + "".join(c for c in file if c.isalpha())
    installed(tmp_path, name, f"{name}:FUSION")
    if "/" in file:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    path = tmp_path / file.format(name=name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("FUSION = 1\n")
    before = foreign_code()
    monkeypatch.syspath_prepend(tmp_path)
    first = foreign_code()
    path.write_text("FUSION = 2\n")
    assert len({before, first, foreign_code()}) == 3
