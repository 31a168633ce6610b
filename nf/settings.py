"""Everything that can be configured, as frozen values: `mgmt.bind` makes them, the function applies them.

A change of configuration is ``diff(old, new)``: the parts that differ, so that only those are
touched. Nothing here knows YANG, sockets or the kernel.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

__all__ = [
    "Action",
    "Application",
    "CallHome",
    "Consumer",
    "Curve",
    "Degradation",
    "Degradations",
    "Encapsulation",
    "Export",
    "Interface",
    "Limits",
    "LineGateway",
    "Listener",
    "Management",
    "Mode",
    "Monitor",
    "Policy",
    "Privacy",
    "QoeProfile",
    "QoeThreshold",
    "Rights",
    "Role",
    "Settings",
    "StaticSession",
    "SubscriberGroup",
    "User",
    "XdpMode",
    "diff",
]


class Role(enum.Enum):
    """The traffic that an interface carries."""

    N3 = "n3"  # GTP-U between gNB and UPF
    N6 = "n6"  # plain IP between UPF and data network
    N4 = "n4"  # signalling, mirrored: PFCP, GTP-C, RADIUS, NGAP
    MIXED = "mixed"  # all of these on one port

    @property
    def counts(self) -> bool:
        """Say whether user data is counted."""
        return self is not Role.N4

    @property
    def listens(self) -> bool:
        """Say whether signalling is read."""
        return self in (Role.N4, Role.MIXED)

    @staticmethod
    def both_sides(roles: Collection[Role | None]) -> bool:
        """Say whether ports of these roles see packets before and behind the UPF."""
        return {Role.N3, Role.N6} <= set(roles) or Role.MIXED in roles


class Mode(enum.Enum):
    """The fate of a packet after it was counted (design, section 2)."""

    MIRROR = "mirror"  # dropped: the port is a TAP or SPAN port
    LOCAL = "local"  # passed on to this host's stack
    INLINE = "inline"  # redirected to the paired port


class XdpMode(enum.Enum):
    """The way a program is attached; AUTO tries native and falls back to generic."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


class Encapsulation(enum.Flag):
    """The encapsulations in which a port's packets may come."""

    NONE = 0
    VLAN_TAGS = enum.auto()  # more than three
    CISCO_SGT = enum.auto()
    MPLS = enum.auto()
    VXLAN = enum.auto()
    GRE = enum.auto()
    ERSPAN = enum.auto()
    ETHERNET_SESSION = enum.auto()  # frames in GTP-U
    RAW_IP = enum.auto()  # no Ethernet header

    @classmethod
    def every(cls) -> Encapsulation:
        """Return all of them."""
        return ~cls.NONE


class Action(enum.Enum):
    """The treatment of an application's traffic."""

    INSPECT = "inspect"  # full QoE state
    COUNT = "count"  # bytes and packets only
    TRUNCATE = "truncate"  # as inspect; copies to the monitor port are cut to snap_length
    SUPPRESS = "suppress"  # bytes only, nothing is published per application


_OF_THE_LINK = Encapsulation.VLAN_TAGS | Encapsulation.CISCO_SGT | Encapsulation.MPLS


@dataclass(frozen=True, slots=True)
class Interface:
    """One port of the function, by name or MAC address (exactly one of the two is set)."""

    name: str  # key of the list; the device name unless mac is set
    role: Role
    mode: Mode = Mode.MIRROR
    mac: str = ""
    xdp: XdpMode = XdpMode.AUTO
    peer: str = ""  # inline: the name of the paired interface
    instance: str = ""  # N6: network instance of the UE addresses behind it
    force: bool = False  # mirror: take the interface although it has an address
    encapsulation: Encapsulation | None = None  # None: those that the mode makes likely
    sent: bool = False  # local: what the port sends is read as well

    @property
    def opens(self) -> Encapsulation:
        """The encapsulations read through. A mirror may have wrapped anything; elsewhere a tunnel concerns its ends."""
        if self.encapsulation is not None:
            return self.encapsulation
        if self.mode is Mode.MIRROR:
            return Encapsulation.every()
        return _OF_THE_LINK | Encapsulation.ETHERNET_SESSION


@dataclass(frozen=True, slots=True, repr=False)
class StaticSession:
    """A session that the operator configured instead of a signalling source."""

    name: str
    imsi: str = ""
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    dnn: str = ""
    instance: str = ""
    uplink: tuple[tuple[str, int], ...] = ()  # (receiving address, TEID); of a fixed line as `nf.sessions.lines` says
    downlink: tuple[tuple[str, int], ...] = ()
    prefixes: tuple[str, ...] = ()  # further ones of its network
    line: bool = False  # it is a fixed line
    subscriber: str = ""  # its name in records, as it is, where it has no IMSI

    def __repr__(self) -> str:
        return f"StaticSession({self.name!r})"


@dataclass(frozen=True, slots=True)
class LineGateway:
    """A gateway of fixed lines (BNG): frames that come from its addresses, or go to them, say their line."""

    name: str
    macs: tuple[str, ...] = ()  # of its side of the lines
    pppoe_sessions: bool = False  # several share a VLAN, and their numbers tell lines apart


@dataclass(frozen=True, slots=True, repr=False)
class SubscriberGroup:
    """Subscribers with policies of their own: by data network, by the beginning of the IMSI, or by both."""

    name: str
    dnns: tuple[str, ...] = ()
    imsi_prefixes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"SubscriberGroup({self.name!r})"


@dataclass(frozen=True, slots=True)
class Policy:
    """The action for the traffic of one application, or of a class; an application's own policy wins.

    A policy for a group of subscribers wins over those for all.
    """

    name: str
    action: Action
    application: str = ""
    app_class: str = ""
    snap_length: int = 0  # truncate: bytes kept of each packet
    group: str = ""  # of subscribers; empty: all


@dataclass(frozen=True, slots=True)
class Monitor:
    """A port that gets what mirror ports receive, as far as the policies let it."""

    interface: str  # name of the device
    decapsulate: bool = False  # without the tunnel


@dataclass(frozen=True, slots=True)
class Application:
    """An application that the operator adds to, or overrides in, the signature file."""

    name: str
    app_class: str
    domains: tuple[str, ...] = ()  # suffixes
    prefixes: tuple[str, ...] = ()  # of addresses that serve it alone
    ports: tuple[str, ...] = ()  # "udp/22023", "tcp/27015-27030"
    confidence: int = 100  # percent; the most that a ground is worth for it


@dataclass(frozen=True, slots=True)
class Rights:
    """Topics and streams that a client of the bus may read. Unset: all but IMSIs, as a client without a list has."""

    topics: tuple[str, ...] = ("change.v1/", "delay.v1/", "health.v1/", "qoe.v1/")  # prefixes
    follow: bool = True  # streams of single subscribers, each asked for by its exact topic
    imsi: bool = False  # the pairs of name and IMSI


@dataclass(frozen=True, slots=True)
class Consumer:
    """A client of the bus with rights of its own, by its public key (Z85)."""

    key: str
    rights: Rights


@dataclass(frozen=True, slots=True, repr=False)
class Curve:
    """CURVE on the publisher: its key pair (Z85) and the public keys that may subscribe (Z85)."""

    secret_key: str
    public_key: str
    clients: tuple[str, ...] = ()  # may read all but IMSIs
    consumers: tuple[Consumer, ...] = ()

    def __repr__(self) -> str:
        return f"Curve(clients={len(self.clients)}, consumers={len(self.consumers)})"


@dataclass(frozen=True, slots=True)
class Listener:
    """A place where the messages can be read."""

    name: str  # empty: the one that is always there
    endpoint: str
    high_water_mark: int = 128  # messages a subscriber
    curve: Curve | None = None
    snapshot_endpoint: str = ""  # where late joiners ask for the current state; empty: nowhere


@dataclass(frozen=True, slots=True)
class Export:
    """The ZeroMQ publisher."""

    endpoint: str = "tcp://127.0.0.1:5556"
    high_water_mark: int = 128  # messages a subscriber
    interval_ms: int = 1000  # of the records; a batch may hold several
    batch_rows: int = 1000  # a batch leaves when it has so many rows,
    batch_ms: int = 10_000  # or is this old
    curve: Curve | None = None
    further: tuple[Listener, ...] = ()  # other places, with the same messages
    snapshot_endpoint: str = ""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """All places where the messages can be read."""
        return Listener("", self.endpoint, self.high_water_mark, self.curve, self.snapshot_endpoint), *self.further


@dataclass(frozen=True, slots=True, repr=False)
class Privacy:
    """Settings of subscribers' names outside this function (TS 33.501; design, section 4)."""

    key: bytes = b""  # of HMAC-SHA-256; empty: a random key for the life of the process
    epoch: int = 0
    export_imsi: bool = False
    previous_key: bytes = b""  # names under it are understood, too
    opted_out: tuple[str, ...] = ()  # IMSIs of subscribers without records of their own

    def __repr__(self) -> str:
        return f"Privacy(epoch={self.epoch}, export_imsi={self.export_imsi})"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of the kernel's tables, and who reads them; a change of them needs a restart of the data plane."""

    flows: int = 131_072
    sessions: int = 65_536
    unknown_flows_per_s: int = 0  # flows without a session that may begin on a port; 0: a sixteenth of `flows`
    shards: int = 1  # processes that share the subscribers out; 1: the function itself


@dataclass(frozen=True, slots=True)
class QoeProfile:
    """Constants of the estimates and the score of a class of applications that are not those of its model."""

    app_class: str  # or n3, whose constants are those of suspects (`nf.qoe.n3`)
    constants: tuple[tuple[str, float], ...] = ()  # by their paths (`nf.qoe.profiles`)
    by_bytes: tuple[str, ...] = ()  # applications of players that fetch parts of files (`nf.qoe.video`)


@dataclass(frozen=True, slots=True)
class QoeThreshold:
    """The alarm of a class of applications: at least ``percent`` of its scores in an interval are below ``score``."""

    app_class: str
    score: float
    percent: int = 10
    least: int = 20  # scores of an interval, with fewer of which nothing is said


@dataclass(frozen=True, slots=True)
class Degradation:
    """The alarm of a single subscriber with an application of a class, or with one application (one of the two is set).

    It is raised when all scores of ``raise_s`` are below ``score``, and cleared when all of ``clear_s`` are
    ``clear_score`` or more.
    """

    app_class: str
    application: str
    score: float
    clear_score: float
    raise_s: int = 30
    clear_s: int = 60
    least_bps: int = 0  # in an interval, with less of which its score says nothing


@dataclass(frozen=True, slots=True)
class Degradations:
    """The thresholds of single subscribers, and how many of their alarms stand at a time."""

    thresholds: tuple[Degradation, ...] = ()
    most: int = 100


@dataclass(frozen=True, slots=True)
class User:
    """A user who may log in, beside those of the users file, and his public keys as they are on the wire."""

    name: str
    keys: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class CallHome:
    """A client that the function connects to (RFC 8071)."""

    name: str
    address: str
    port: int = 4334  # netconf-ch-ssh
    longest_wait_s: int = 60  # between two attempts


@dataclass(frozen=True, slots=True)
class Management:
    """The users of the NETCONF server and its limits.

    Who has logged in takes no place of those who have not, nor the other way round.
    """

    sessions: int = 64
    unauthenticated: int = 128
    per_source: int = 64  # unauthenticated ones of one address
    login_s: int = 15  # from the connection to the hello, while few have not logged in,
    least_login_s: int = 2  # and while there is no room for more
    idle_s: int = 3600  # without a message; 0: for ever
    users: tuple[User, ...] = ()
    call_home: tuple[CallHome, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. Lists are tuples ordered by key, so that equal means equal."""

    nf_id: str = "snf"
    interfaces: tuple[Interface, ...] = ()
    sessions: tuple[StaticSession, ...] = ()
    line_gateways: tuple[LineGateway, ...] = ()
    pfcp_peers: tuple[str, ...] = ()  # addresses and prefixes of SMFs and UPFs; none: they are learned
    groups: tuple[SubscriberGroup, ...] = ()
    policies: tuple[Policy, ...] = ()
    monitor: Monitor | None = None
    applications: tuple[Application, ...] = ()
    export: Export = Export()
    privacy: Privacy = Privacy()
    limits: Limits = Limits()
    profiles: tuple[QoeProfile, ...] = ()
    thresholds: tuple[QoeThreshold, ...] = ()
    degradations: Degradations = Degradations()
    management: Management = Management()
    naming_workers: int = 0  # processes that read payloads; 0: the function itself


def diff(old: Settings, new: Settings) -> Mapping[str, tuple[object, object]]:
    """Return the top-level parts that differ: name to (old, new)."""
    return {
        f.name: (getattr(old, f.name), getattr(new, f.name))
        for f in fields(Settings)
        if getattr(old, f.name) != getattr(new, f.name)
    }
