"""A session that the UPF knows no more is seen as such: by error indications, and by packets that do not come out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from gtp.events import Identity, Session, SessionUp, Side, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, Found, Query, find
from nf.sessions.upf import with_upf
from tests.kernel.packets import GNB, UL_TEID, UPF, ether, outer, uplink
from tests.kernel.rig import Rig

UE, SERVER, TEID = "10.45.0.2", "198.51.100.7", UL_TEID
TUNNELS = (Tunnel(UPF, TEID, Side.UPLINK),)
SESSION = Session("one", "pfcp", Identity(imsi="001010000000001"), ue_ipv4=UE, tunnels=TUNNELS)


class Watched:
    """A session in the kernel's table, and what is told of it."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.store = rig, BindingStore(256)
        self.begun_s = rig.now_ns / 1e9
        rig.plane.write(self.store.apply(SessionUp(self.begun_s, SESSION)))
        rig.plane.follow = True

    def packet(self, number: int, *, comes_out: bool) -> None:
        packet = IP(src=UE, dst=SERVER, id=number) / UDP(sport=4000, dport=5000) / Raw(bytes(10))
        self.rig.run(ether(uplink(packet)), "n3")
        if comes_out:
            self.rig.run(ether(packet), "n6")

    def refuse(self, teid: int = TEID) -> None:
        about = bytes([16]) + teid.to_bytes(4, "big")
        self.rig.run(ether(outer(UPF, GNB) / GTP_U_Header(S=1, seq=0, gtp_type=26, teid=0) / about))

    def told(self) -> Found:
        page = find(self.store, Query(), Pseudonymiser(b"k" * 32, 1))
        (found,) = with_upf(page.found, self.rig.plane, self.store, 0.0)
        return found


@pytest.fixture
def watched() -> Iterator[Watched]:
    rig = Rig()
    yield Watched(rig)
    rig.close()


class TestUpf:
    """Per session, from what passes on N3 and N6."""

    def test_a_session_that_the_upf_serves_has_no_error_and_no_loss(self, watched):
        for number in range(800):
            watched.packet(number, comes_out=True)

        told = watched.told()
        assert (told.error_indications, told.lost) == (0, (0, 0))
        assert 20 <= told.followed[0] <= 100  # one in sixteen

    def test_one_that_it_has_wiped_loses_all_and_is_answered_with_errors(self, watched):
        for number in range(800):
            watched.packet(number, comes_out=False)
        for _ in range(5):
            watched.refuse()

        told = watched.told()
        assert told.error_indications == 5
        assert told.lost[0] >= told.followed[0] - 2 > 0  # two may be on their way

    def test_errors_about_other_tunnels_are_not_its_own(self, watched):
        watched.refuse(0xBEEF)
        assert watched.told().error_indications == 0

    def test_errors_from_before_it_are_not_its_own(self, watched):
        watched.refuse()
        binding = watched.store.by_tunnel(UPF, TEID)
        assert binding is not None
        binding.first_s = watched.rig.now_ns / 1e9 + 1

        assert watched.told().error_indications == 0
