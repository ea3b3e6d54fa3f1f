"""Certificates and processes of a deployment; the whole is in test_deployment.py."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from experiments.deployment.certificates import (
    CA,
    SERVER_CERTIFICATE,
    SERVER_KEY,
    make_node_key,
    make_tls,
    write_secret,
)
from experiments.deployment.processes import Processes
from tests.waiting import STAYS, wait_until


def test_a_client_that_trusts_the_authority_accepts_localhost_and_no_other(
    tmp_path: Path,
) -> None:
    make_tls(tmp_path)
    assert (tmp_path / SERVER_KEY).stat().st_mode & 0o077 == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [CA, SERVER_KEY, SERVER_CERTIFICATE]
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tmp_path / SERVER_CERTIFICATE, tmp_path / SERVER_KEY)
    trusting = ssl.create_default_context(cafile=str(tmp_path / CA))
    assert _meets(ours, trusting, "localhost")
    assert _meets(ours, trusting, "127.0.0.1")
    assert not _meets(ours, trusting, "example.org")
    assert not _meets(ours, ssl.create_default_context(), "localhost")


def test_the_certificate_names_the_host_that_nodes_are_told(tmp_path: Path) -> None:
    make_tls(tmp_path, ["link.example.org", "127.0.0.2"])
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(tmp_path / SERVER_CERTIFICATE, tmp_path / SERVER_KEY)
    trusting = ssl.create_default_context(cafile=str(tmp_path / CA))
    for name in ("link.example.org", "127.0.0.2", "localhost", "127.0.0.1"):
        assert _meets(ours, trusting, name), name
    for name in ("example.org", "127.0.0.3"):
        assert not _meets(ours, trusting, name), name


def _meets(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def answer() -> None:
            plain, _ = listening.accept()
            try:
                server.wrap_socket(plain, server_side=True).close()
            except (ssl.SSLError, OSError):
                plain.close()

        side = threading.Thread(target=answer)
        side.start()
        try:
            with (
                socket.create_connection(listening.getsockname()) as raw,
                client.wrap_socket(raw, server_hostname=name),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False
        finally:
            side.join()


def test_the_authoritys_key_is_gone_and_its_certificate_signs_no_further_authority(
    tmp_path: Path,
) -> None:
    make_tls(tmp_path)
    root = x509.load_pem_x509_certificate((tmp_path / CA).read_bytes())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert b"PRIVATE" not in (tmp_path / CA).read_bytes()


def test_node_keys_are_of_the_kind_that_flower_takes(tmp_path: Path) -> None:
    public = make_node_key(tmp_path / "node.key")
    assert public.read_bytes().startswith(b"ecdsa-sha2-nistp384 ")
    key = load_ssh_private_key((tmp_path / "node.key").read_bytes(), None)
    assert public.read_bytes().split()[1]
    assert key.public_key() is not None
    assert (tmp_path / "node.key").stat().st_mode & 0o077 == 0


def test_a_secret_replaces_what_was_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"old")
    write_secret(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STAYS!r}], " \
    f"start_new_session=True); {STAYS}"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_every_process_ends_its_runaway_children_too(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {}, ("PRIVFEDMM_TEST", str(tmp_path)))
    with pytest.raises(KeyboardInterrupt), processes:
        processes.start("parent", [sys.executable, "-c", CHILD])
        wait_until(lambda: len(processes.survivors()) == 2, lambda: not processes.ended())
        raise KeyboardInterrupt
    assert processes.survivors() == []
    assert processes.ended().keys() == {"parent"}


# A process that writes its title over its environment, as Ray's do, carries no mark any more.
UNMARKED = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STAYS!r}], " \
    f"env={{}}); {STAYS}"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found through /proc")
def test_a_child_that_lost_the_mark_is_found_by_its_session(tmp_path: Path) -> None:
    parent = ("import subprocess, sys; "
              f"subprocess.Popen([sys.executable, '-c', {UNMARKED!r}], start_new_session=True); "
              f"{STAYS}")
    stranger = subprocess.Popen([sys.executable, "-c", STAYS])
    processes = Processes(tmp_path, {}, ("PRIVFEDMM_TEST", str(tmp_path)))
    try:
        with processes:
            processes.start("parent", [sys.executable, "-c", parent])
            wait_until(lambda: len(processes.survivors()) == 3, lambda: not processes.ended())
            assert stranger.pid not in processes.survivors()
        assert processes.survivors() == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        Processes(tmp_path, {}, ("PRIVFEDMM_TEST", str(tmp_path))) as processes,
        pytest.raises(RuntimeError, match=r"greet failed: .*sad"),
    ):
        processes.call("greet", [sys.executable, "-c", "raise SystemExit('sad')"], 3600)
