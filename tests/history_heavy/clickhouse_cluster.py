"""Two ClickHouse servers of Debian as shards of one cluster, on loopback ports and folders of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.wait import comes_true

PROGRAM = "/usr/sbin/clickhouse-server"
CLUSTER = "snf"
_CONFIG = """<yandex>
    <logger><level>warning</level><log>{folder}/log</log><errorlog>{folder}/errors</errorlog></logger>
    <http_port>{http}</http_port>
    <tcp_port>{tcp}</tcp_port>
    <listen_host>127.0.0.1</listen_host>
    <path>{folder}/data/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <mark_cache_size>100000000</mark_cache_size>
    <uncompressed_cache_size>100000000</uncompressed_cache_size>
    <users_config>users.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <remote_servers><snf>{shards}</snf></remote_servers>
</yandex>
"""
_SHARD = "<shard><replica><host>127.0.0.1</host><port>{tcp}</port></replica></shard>"
_USERS = """<yandex>
    <profiles><default>
        <join_use_nulls>1</join_use_nulls>
        <distributed_product_mode>global</distributed_product_mode>
        <insert_distributed_sync>1</insert_distributed_sync>
        <max_memory_usage>2000000000</max_memory_usage>
    </default></profiles>
    <users><default>
        <password></password>
        <networks><ip>127.0.0.1</ip></networks>
        <profile>default</profile>
        <quota>default</quota>
    </default></users>
    <quotas><default><interval><duration>3600</duration></interval></default></quotas>
</yandex>
"""


class Failed(Exception):
    """A server answered with an error; its text."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Cluster:
    """Servers that are started and ended by the test; each may be killed and started again."""

    def __init__(self, folder: Path, servers: int = 2) -> None:
        self.http = [free_port() for _ in range(servers)]
        tcp = [free_port() for _ in range(servers)]
        shards = "".join(_SHARD.format(tcp=port) for port in tcp)
        self._folders = [folder / f"server{i}" for i in range(servers)]
        for place, http, port in zip(self._folders, self.http, tcp, strict=True):
            place.mkdir(parents=True)
            (place / "config.xml").write_text(_CONFIG.format(folder=place, http=http, tcp=port, shards=shards))
            (place / "users.xml").write_text(_USERS)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        for number in range(len(self.http)):
            self.start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in list(self._running):
            self.kill(number)

    def start(self, number: int) -> None:
        place = self._folders[number]
        with (place / "output").open("ab") as output:
            self._running[number] = subprocess.Popen(
                [PROGRAM, f"--config-file={place}/config.xml"],
                cwd=place,
                stdout=output,
                stderr=output,
                env=os.environ | {"TZ": "UTC"},
            )
        assert comes_true(lambda: self._answers(number), 30), (place / "errors").read_text()

    def kill(self, number: int) -> None:
        process = self._running.pop(number)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def url(self, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.http[number]}"

    def ask(self, text: str, number: int = 0, data: bytes = b"") -> str:
        """Return the answer of a server; with *data* the text is in the address, as inserts are sent."""
        address, body = f"{self.url(number)}/", text.encode()
        if data:
            address, body = f"{address}?query={urllib.parse.quote(text)}", data
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=120) as answer:
                found: str = answer.read().decode()
                return found
        except urllib.error.HTTPError as error:
            raise Failed(error.read().decode()) from None

    def rows(self, text: str, number: int = 0) -> list[dict[str, Any]]:
        """Return the rows of a select, whole numbers as such."""
        found = json.loads(self.ask(f"{text}\nformat JSON", number))
        whole = {c["name"] for c in found["meta"] if "Int" in c["type"]}
        return [{k: int(v) if k in whole and v is not None else v for k, v in row.items()} for row in found["data"]]

    def _answers(self, number: int) -> bool:
        try:
            return self.ask("select 1", number).strip() == "1"
        except OSError:
            return False
