"""Policies of a group of subscribers: the kernel finds them by the session of the flow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP

from nf.abi import SNF_GROUPS
from nf.sessions.groups import group_of
from nf.settings import Action, SubscriberGroup
from tests.kernel.packets import GNB, QFI, UL_TEID, UPF, ether, tcp
from tests.kernel.rig import Rig
from tests.kernel.twin import UPLINK

STAFF = SubscriberGroup("staff", dnns=("enterprise",))
GUESTS = SubscriberGroup("guests", imsi_prefixes=("99901", "00102"))
BOTH = SubscriberGroup("both", dnns=("enterprise", "iot"), imsi_prefixes=("00101",))
SESSION, ALL, ONE, TWO = 5, 0, 1, 2


class TestMembership:
    """A session is of the first group whose data networks and IMSI prefixes it fits, where there are any."""

    @pytest.mark.parametrize(
        ("who", "groups", "number"),
        [
            (("enterprise", ""), (STAFF,), 1),
            (("internet", ""), (STAFF,), 0),
            (("", "001020000000001"), (STAFF, GUESTS), 2),
            (("", "001010000000001"), (STAFF, GUESTS), 0),
            (("iot", "001010000000001"), (BOTH,), 1),
            (("iot", "001020000000001"), (BOTH,), 0),
            (("internet", "001010000000001"), (BOTH,), 0),
            (("enterprise", "001010000000001"), (BOTH, STAFF), 1),
            (("enterprise", ""), (), 0),
        ],
    )
    def test_the_group_of_a_session(self, who, groups, number):
        assert group_of(*who, groups) == number

    def test_no_prefix_of_an_imsi_is_in_a_text(self):
        assert "99901" not in repr(GUESTS)


@pytest.fixture
def grouped(rig: Rig) -> Iterator[Rig]:
    """A tunnel of a session; tables without groups afterwards."""
    rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
    yield rig
    rig.plane.put_groups({SESSION: ALL})


def send(rig: Rig, seq: int = 0) -> int:
    """Run an uplink packet and return how many of its flow were inspected."""
    head = IP(src=GNB, dst=UPF) / UDP(sport=2152, dport=2152)
    tunnel = GTP_U_Header(teid=UL_TEID, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=QFI)
    rig.run(ether(head / tunnel / tcp(seq=seq)))
    return int(rig.flow()["payload_packets"][0])


class TestPolicy:
    """The policy of the group holds, from the next packet on; without a group that of all."""

    def test_a_group_is_counted_while_the_rest_is_inspected(self, grouped):
        grouped.plane.put_groups({SESSION: ONE})
        grouped.plane.set_policies({}, groups=[{0: (Action.COUNT, 0)}])

        assert [send(grouped), send(grouped, 32)] == [0, 0]
        assert grouped.flow()["packets"][0] == 2

    def test_the_rest_is_counted_while_a_group_is_inspected(self, grouped):
        grouped.plane.put_groups({SESSION: TWO})
        grouped.plane.set_policies({0: (Action.COUNT, 0)}, groups=[{0: (Action.COUNT, 0)}, {}])

        assert [send(grouped), send(grouped, 32)] == [1, 2]

    def test_a_change_of_group_holds_from_the_next_packet(self, grouped):
        grouped.plane.set_policies({}, groups=[{0: (Action.COUNT, 0)}])
        assert send(grouped) == 1

        grouped.plane.put_groups({SESSION: ONE})
        grouped.plane.new_generation()
        assert send(grouped, 32) == 1

        grouped.plane.put_groups({SESSION: ALL})
        grouped.plane.new_generation()
        assert send(grouped, 64) == 2

    def test_another_session_is_of_no_group(self, grouped):
        grouped.plane.put_groups({SESSION + 1: ONE})
        grouped.plane.set_policies({}, groups=[{0: (Action.COUNT, 0)}])

        assert send(grouped) == 1

    def test_the_kernel_has_room_for_every_group(self, grouped):
        """The first is that of all others."""
        assert len(grouped.plane._maps["policies"]) == SNF_GROUPS * 4096
        grouped.plane.set_policies({}, groups=[{}] * (SNF_GROUPS - 2) + [{4095: (Action.COUNT, 0)}])
        table = grouped.plane._maps["policies"].read()[1]["action"]
        assert np.flatnonzero(table).tolist() == [SNF_GROUPS * 4096 - 1]
