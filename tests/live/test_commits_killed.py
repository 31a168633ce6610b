"""A function that is killed while it commits starts with the old configuration or the new one; the kernel agrees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.net import Net, inside
from tests.live import commits


@pytest.fixture
def home() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        for port in ("n3", "n6"):
            net.veth(("host", port), ("host", f"far-{port}"))
        with inside(net.path("host")):
            yield net.path("host")


class TestKilled:
    """SIGKILL when the data plane is as the new configuration says and the disk as the old one; more in `make soak`."""

    def test_the_kernel_goes_back_with_the_configuration(self, home, tmp_path):
        assert commits.killed_at(home, tmp_path, "applied") == commits.EXPECTED["applied"]
