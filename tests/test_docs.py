"""The quickstart runs as written; links lead somewhere; the reference is whole and fresh."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli.lists import KINDS, registry_of
from privfedmm.base import errors
from tests import reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.slow
def test_quickstart_commands(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line]
    assert len(commands) >= 4
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "privfedmm"
        done = subprocess.run(
            [sys.executable, "-m", "experiments", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_quickstart_python(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(block, "quickstart.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "user central" in printed and "ndcg@50" in printed


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_is_fresh(name: str) -> None:
    written = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), f"docs/reference/{name}: run `make reference`"


def test_every_command_is_explained() -> None:
    found = dict(reference.commands())
    assert {"privfedmm run", "privfedmm audit", "privfedmm deploy local"} <= found.keys()
    silent = [words for words, command in found.items() if not command.help]
    silent += [f"{words} {name}" for words, command in found.items()
               for name, _, _, meaning in reference.parameters(command) if not meaning]
    assert not silent


def test_every_setting_is_explained() -> None:
    found = {one.path: one for one in reference.settings()}
    assert {"rounds", "dp.epsilon", "algorithm.model.dim"} <= found.keys()
    assert not [path for path, one in found.items() if not one.meaning]


def test_every_exit_code_is_in_the_error_map() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    codes = {name: value for name, value in vars(errors).items()
             if name.isupper() and isinstance(value, int)}
    assert len(codes) >= 4
    for name, value in codes.items():
        assert f"| {value} | `{name}` |" in page


def test_every_page_is_in_the_site() -> None:
    """A page that no entry of the navigation names is found by nobody."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert not [page for page in pages if page not in navigation]


API = re.findall(r"^::: (\S+)$", "\n".join(
    page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md")), re.M)


@pytest.mark.parametrize("module", API)
def test_what_the_api_reference_names_is_there(module: str) -> None:
    assert importlib.import_module(module).__doc__


def test_every_registry_is_in_the_api_reference() -> None:
    for kind in KINDS:
        entries = type(next(iter(registry_of(kind))))
        assert any(entries.__module__ == m or entries.__module__.startswith(f"{m}.")
                   for m in API if m != "privfedmm"), f"{kind}: {entries.__module__}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_paths_of_files_lead_somewhere(page: Path) -> None:
    """`privfedmm/base/registry.py` in a text is a file of this repository."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:privfedmm|privacy|experiments|tests|examples)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_dotted_names_are_there(page: Path) -> None:
    """`privfedmm.testing.backends.BackendContract` in a text can be imported."""
    text = page.read_text(encoding="utf-8")
    groups = {f"privfedmm.{kind}" for kind in KINDS}  # of entry points; no modules
    for name in set(re.findall(r"`((?:privfedmm|privacy)(?:\.\w+)+)`", text)) - groups:
        assert pkgutil.resolve_name(name) is not None, f"{page.name}: {name}"
