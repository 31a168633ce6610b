"""The lab on paper: names, addresses and places of its parts. Values only.

    ue1..ueN ──TUN── gnb ──N3── upf ──N6── dn        smf ──N4── upf
                                 │mirrors              ops ──management── probe
                                 └───────> probe: n3, n4 (and n6 where asked for)

Addresses are of private and documentation ranges; the service names are real ones, so that the
function's own signature file names them, and resolve nowhere but in the lab's DNS.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.impair import Impairment

__all__ = [
    "DN",
    "DNN",
    "DNS",
    "GNB_SITES",
    "N4_SMF",
    "N4_UPF",
    "OPS",
    "POOL",
    "PROBE",
    "SD",
    "SERVICES",
    "SST",
    "UE_DEVICE",
    "UE_MTU",
    "UPF_DEVICE",
    "UPF_N3",
    "UPF_N6",
    "Service",
    "Subscriber",
    "subscribers",
]

GNB_SITES = ("10.100.3.1", "10.100.3.2")
UPF_N3 = "10.100.3.10"
UPF_N6, DN = "10.100.6.10", "10.100.6.1"
N4_SMF, N4_UPF = "10.100.4.1", "10.100.4.10"
OPS, PROBE = "192.0.2.1", "192.0.2.10"  # TEST-NET-1 (RFC 5737)
POOL = "10.45.0.0/16"
DNS = "198.18.0.53"  # services live in the benchmark range (RFC 2544)
UE_DEVICE, UPF_DEVICE = "ue0", "upf0"
UE_MTU = 1400  # 1500 on N3 less 44 of outer IPv4, UDP, GTP-U with PDU Session Container; the usual value of 5G UEs
DNN, SST, SD = "internet", 1, "000001"


@dataclass(frozen=True, slots=True)
class Service:
    """An application of the data network: its kind names the client that uses it."""

    kind: str
    app_class: str
    address: str
    names: tuple[str, ...]


SERVICES = {
    s.kind: s
    for s in (
        Service("video", "video", "198.18.1.1", ("rr3---sn-4g5e6nez.googlevideo.com", "www.youtube.com")),
        Service("movie", "video", "198.18.1.2", ("ipv4-c012-fra002-ix.1.oca.nflxvideo.net", "www.netflix.com")),
        Service("live", "live-video", "198.18.2.1", ("video-edge-c2b3a8.fra02.abs.hls.ttvnw.net", "www.twitch.tv")),
        Service("call", "conferencing", "198.18.3.1", ("meet.google.com",)),
        Service("voice", "voice", "198.18.4.1", ("sip.linphone.org",)),
        Service("game", "gaming", "198.18.5.1", ("euw1.prod.riotgames.com",)),
        Service("social", "social", "198.18.6.1", ("i.instagram.com", "scontent-fra3-1.cdninstagram.com")),
        Service("chat", "messaging", "198.18.7.1", ("g.whatsapp.net",)),
        Service("web", "web", "198.18.8.1", ("en.wikipedia.org", "upload.wikimedia.org")),
        Service("web3", "web", "198.18.8.2", ("www.google.com",)),
        Service("download", "download", "198.18.9.1", ("releases.ubuntu.com",)),
    )
}


@dataclass(frozen=True, slots=True, repr=False)
class Subscriber:
    """A UE with its SIM, the uses of its user, and its radio in the two directions."""

    name: str
    imsi: str  # of the test network 001/01 (ITU-T E.212)
    address: str
    uses: tuple[str, ...]  # kinds of SERVICES
    uplink: Impairment
    downlink: Impairment
    qfi: int = 9

    def __repr__(self) -> str:
        return f"Subscriber({self.name})"


GOOD_UPLINK = Impairment(delay_ms=8, jitter_ms=2, rate_bps=5e6)
GOOD_DOWNLINK = Impairment(delay_ms=8, jitter_ms=2, rate_bps=25e6)


def subscribers(*uses: tuple[str, ...]) -> tuple[Subscriber, ...]:
    """Return one subscriber for each tuple of kinds, on a good radio."""
    return tuple(
        Subscriber(f"ue{i}", f"00101{i:010d}", f"10.45.0.{i + 1}", kinds, GOOD_UPLINK, GOOD_DOWNLINK)
        for i, kinds in enumerate(uses, 1)
    )
