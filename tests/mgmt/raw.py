"""Messages, sessions and locks of NETCONF as a client that writes every byte itself sees them."""

from lxml import etree

from mgmt.netconf.notify.notifications import Notifications
from mgmt.netconf.roster import Roster
from mgmt.netconf.served import Served

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
P = "urn:supernetflow:yang:snf-policies"
IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
NM = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"

N3 = (
    f'<interfaces xmlns="{IF}"><interface><name>n3</name>'
    '<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>'
    '<capture xmlns="urn:supernetflow:yang:snf-interfaces"><role>n3</role></capture></interface></interfaces>'
)


HELLO_10, HELLO_11 = (
    f'<hello xmlns="{BASE}"><capabilities><capability>urn:ietf:params:netconf:base:{version}</capability>'
    "</capabilities></hello>]]>]]>".encode()
    for version in ("1.0", "1.1")
)


def served(datastore, function, kill=lambda _by, _session: False) -> Served:
    """Return what a dispatcher answers by, without a server."""
    roster = Roster()
    return Served(datastore, function, kill, (), roster, Notifications(datastore.model, roster))


def wrapped(xml: str) -> str:
    return f'<config xmlns="{BASE}">{xml}</config>'


def names(element, name) -> list[str]:
    return element.xpath(f"//*[local-name()='{name}']/text()")


def ask(channel, operation: str, *, attributes: str = 'message-id="1"', raw: bytes | None = None) -> etree._Element:
    """Send one request in 1.0 framing and return the reply."""
    if not getattr(channel, "greeted", False):
        read(channel)
        channel.sendall(HELLO_10)
        channel.greeted = True
    channel.sendall(
        (f'<rpc xmlns="{BASE}" {attributes}>{operation}</rpc>'.encode() if raw is None else raw) + b"]]>]]>"
    )
    return read(channel)


def read(channel) -> etree._Element:
    data = b""
    while not data.endswith(b"]]>]]>"):
        piece = channel.recv(65536)
        assert piece, "the server closed the channel"
        data += piece
    return etree.fromstring(data.removesuffix(b"]]>]]>"))


def tag_of(reply: etree._Element) -> str:
    """Return the tag of the error, "ok" when that is the reply, else "data"."""
    plain = "ok" if reply.find(f"{{{BASE}}}ok") is not None else "data"
    return reply.findtext(f"{{{BASE}}}rpc-error/{{{BASE}}}error-tag", plain)
