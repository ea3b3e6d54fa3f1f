"""Users without a home, caches that cannot be written, terminals of few letters, proxies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.deployment.superlink import environment, proxy_note
from privfedmm.base.errors import UserError
from privfedmm.base.state_folder import state_folder
from privfedmm.data.movielens import default_cache
from privfedmm.encoders import EncoderError, FeatureCache
from tests.commands import BARE, cli
from tests.experiments.test_results_kept import SMALL, words

ROOT = Path(__file__).parents[2]
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "NO_PROXY", "no_grpc_proxy")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without a name in the system's list, and no HOME: as in some containers."""
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "PRIVFEDMM_CACHE", "PRIVFEDMM_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


def raw_folder(folder: Path) -> Path:
    """A data set with titles that must be encoded, one of letters beyond ASCII."""
    folder.mkdir()
    rows = [f"u{u},i{(u + n) % 9},{n}" for u in range(12) for n in range(5)]
    rows.insert(0, "user_id,item_id,timestamp")
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n")
    named = "Caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GRINNING FACE}"
    other = ["red", "sea", "night", "gold", "paper", "rain", "stone", "fire", "glass"]
    titles = ["item_id,title", *(f"i{n},{named} {word}" for n, word in enumerate(other))]
    (folder / "items.csv").write_text("\n".join(titles) + "\n", encoding="utf-8")
    return folder


def test_built_in_data_need_no_home(homeless: None, tmp_path: Path) -> None:
    assert cli(*SMALL, "--out", str(tmp_path / "run")).returncode == 0


def test_who_needs_a_home_is_told_the_setting(homeless: None, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set PRIVFEDMM_STATE"):
        state_folder()
    done = cli(*SMALL, "--dp-epsilon", "2", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and "set PRIVFEDMM_STATE" in words(done.stderr)
    assert not (tmp_path / "run").exists()
    done = cli("run", "--dataset", str(raw_folder(tmp_path / "raw")), "--text-model", "hashing",
               "--k-core", "0", "--rounds", "1", *BARE, "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and "PRIVFEDMM_CACHE" in words(done.stderr)
    assert not default_cache().exists()


def test_a_cache_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "file").write_text("no folder")
    cache = FeatureCache(tmp_path / "file", "an encoder")
    with pytest.raises(EncoderError, match=r"cannot be written .* with PRIVFEDMM_CACHE"):
        cache.add(["a"], np.zeros((1, 2), dtype=np.float32), np.zeros(1, dtype=bool))


@pytest.mark.slow
def test_letters_that_a_terminal_lacks_are_replaced(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii",
                   "PRIVFEDMM_CACHE": str(tmp_path / "cache")}
    done = cli("run", "--dataset", str(raw_folder(tmp_path / "raw")), "--text-model", "hashing",
               "--k-core", "0", "--rounds", "1", *BARE, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "experiments", "recommend", str(tmp_path / "run"), "--user", "u3"],
        capture_output=True, text=True, env=environment, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "Caf? ?" in shown.stdout


def test_a_machine_asks_no_proxy_for_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "intranet.example, .lab.example")
    given = environment(tmp_path)
    assert given["no_proxy"] == given["NO_PROXY"] == given["no_grpc_proxy"] == (
        "intranet.example,.lab.example,localhost,127.0.0.1,::1")
    for address, proxy in (
        ("localhost:8443", None), ("127.0.0.1:9", None), ("[::1]:9", None),
        ("a.intranet.example:8443", None), ("b.lab.example:1", None),
        ("server.example:8443", "http://proxy.example:3128"),
    ):
        note = proxy_note(address)
        assert (note is None) == (proxy is None)
        assert note is None or f"to {address} goes through the proxy {proxy}" in note
    monkeypatch.delenv("https_proxy")
    assert proxy_note("server.example:8443") is None


@pytest.mark.slow
def test_a_local_deployment_runs_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    done = cli("deploy", "local", "--nodes", "2", "--dataset", "planted:24", "--rounds", "1",
               "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
