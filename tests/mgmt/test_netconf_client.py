"""The client of our own commands, towards a port where no session is to be had."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mgmt.cli.netconf_client import connect
from nf.errors import SnfError

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close sends RST
TIMES = 20  # the reset comes before, while or after the client sends its banner


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    kind = serialization.PrivateFormat.OpenSSH
    file.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    )
    return file


def test_a_server_that_hangs_up_is_a_clear_error(key: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(TIMES):
                peer, _ = server.accept()
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        for _ in range(TIMES):
            with (
                pytest.raises(SnfError, match="No NETCONF session"),
                connect("127.0.0.1", server.getsockname()[1], "root", key),
            ):
                pass
        thread.join()


@pytest.mark.parametrize(
    ("host", "says"), [("127.0.0.1", "nothing answers there"), ("no host", "port 1: .*(resolution|not known)")]
)
def test_who_reaches_nobody_is_told_so_in_words(host: str, says: str, key: Path) -> None:
    with pytest.raises(SnfError, match=says), connect(host, 1, "root", key, timeout_s=20):
        pass
