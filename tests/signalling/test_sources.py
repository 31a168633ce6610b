"""The sources of sessions as an operator is told of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gtp.events import Identity
from gtp.ip import Datagram
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.signalling import Network, Plan
from nf.apply.sources import Source, sources
from nf.signalling.trackers import Signalling

SMF, UPF, OTHER = "192.0.2.1", "192.0.2.10", "192.0.2.11"


def said(signalling: Signalling, source: str, target: str, payload: bytes, at_s: float = 0.0) -> None:
    signalling.feed(Datagram(source, 8805, target, 8805, payload), at_s)


def told(signalling: Signalling, now_s: float, waiting: tuple[str, ...] = ()) -> dict[str, Source]:
    listener = SimpleNamespace(signalling=signalling)
    return sources({"pfcp": 2, "netconf": 1}, {"n4": listener}, waiting, now_s)  # type: ignore[dict-item]


class TestStatus:
    """A source is up while it is heard, silent when it is not, and down when nothing listens."""

    @pytest.mark.parametrize(("now_s", "status"), [(100.0, "up"), (280.0, "up"), (281.0, "silent")])
    def test_three_heartbeats_without_a_word_are_silence(self, now_s, status):
        signalling = Signalling()
        said(signalling, SMF, UPF, build.heartbeat_request(1, 1), 100.0)
        assert told(signalling, now_s)["pfcp"] == Source(status, 2, 1, 100.0)

    def test_an_interface_that_waits_does_not_listen(self):
        signalling = Signalling()
        said(signalling, SMF, UPF, build.heartbeat_request(1, 1), 100.0)
        found = told(signalling, 100.0, ("n4",))
        assert {found[name].oper_status for name in ("pfcp", "gtp-c", "radius", "ngap")} == {"down"}

    def test_a_configured_session_is_no_signalling(self):
        assert told(Signalling(), 0.0)["netconf"] == Source("up", 1)

    def test_a_4g_network_is_heard_by_two_protocols(self):
        signalling, at_s = Signalling(), 0.0
        for at_s, datagram in Network(Plan(sessions=5, rate_hz=50, seconds=1, fourth=True)).mirrored():
            signalling.feed(datagram, at_s)
        found = told(signalling, at_s)
        assert [name for name in found if found[name].messages] == ["pfcp", "gtp-c"]
        assert {found[name].oper_status for name in ("pfcp", "gtp-c")} == {"up"}
        assert {found[name].oper_status for name in ("radius", "ngap")} == {"silent"}


class TestPeers:
    """Two nodes are told with the number of their sessions, also before they have one."""

    def test_by_association_and_session(self):
        signalling = Signalling()
        for upf in (UPF, OTHER):
            said(signalling, SMF, upf, build.association_request(1, SMF, 1))
            said(signalling, upf, SMF, build.association_response(1, upf, 1))
        for n in range(1, 4):
            plan = SessionPlan(SMF, n, Identity(), f"10.45.0.{n}", (UPF, n), None)
            said(signalling, SMF, UPF, build.establishment_request(n + 1, plan))
            said(signalling, UPF, SMF, build.establishment_response(n + 1, n, UPF, n))
        assert signalling.pfcp.associations() == {(SMF, UPF): 3, (SMF, OTHER): 0}
