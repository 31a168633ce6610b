"""A site that sees SGi or N6 only: RADIUS accounting beside plain IP names the subscribers."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.radius import Radius, RadiusAttr_Vendor_Specific, RadiusAttribute
from scapy.packet import Raw
from scapy.utils import wrpcap

from nf.privacy import Pseudonymiser
from nf.settings import Role
from tests.replay.conftest import KEY

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IMSI, UE, SERVER = "001010000000001", "10.45.0.2", "198.51.100.7"


def accounting(status, over):
    attributes = [
        RadiusAttribute(type=40, value=status.to_bytes(4, "big")),
        RadiusAttribute(type=44, value=b"c0000203/1"),
        RadiusAttribute(type=8, value=bytes(map(int, UE.split(".")))),
        RadiusAttribute(type=30, value=b"internet"),
        RadiusAttr_Vendor_Specific(vendor_id=10415, vendor_type=1, value=IMSI.encode()),
    ]
    return ETHER / over / UDP(sport=40000, dport=1813) / Radius(code=4, attributes=attributes)


def user(number):
    return ETHER / IP(src=UE, dst=SERVER) / UDP(sport=5000, dport=6000 + number) / Raw(b"x" * 100)


@pytest.mark.parametrize("over", [IP(src="192.0.2.3", dst="192.0.2.9"), IPv6(src="2001:db8::3", dst="2001:db8::9")])
def test_traffic_between_start_and_stop_is_the_subscribers(tmp_path, replay, over):
    frames = [accounting(1, over), user(1), accounting(2, over), user(2)]
    for number, frame in enumerate(frames):
        frame.time = 1_700_000_000 + number
    wrpcap(str(tmp_path / "sgi.pcap"), frames)

    replayed = replay(tmp_path / "sgi.pcap", roles=[Role.N6])

    (session,) = replayed.sessions
    assert (session["imsi"], session["ue_ipv4"], session["source"], session["ended_by"]) == (
        IMSI, UE, "radius", "deleted"
    )  # fmt: skip
    flows = {f["dport"]: f for f in replayed.flows if f["src"] == UE}
    assert flows[6001]["subscriber"] == Pseudonymiser(KEY, 1).name(IMSI)
    assert flows[6001]["identity_source"] == "radius"
    assert flows[6002]["identity_source"] == "none"
