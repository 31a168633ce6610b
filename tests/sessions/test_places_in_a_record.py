"""Fields that are read of a record without thawing it are where the names of the places say."""

from __future__ import annotations

from gtp.events import Identity, Session, SessionUp, Side, Tunnel
from nf.sessions import BindingStore
from nf.sessions.at_rest import records
from nf.sessions.at_rest.records import Freezer

UP, DOWN = Tunnel("192.0.2.10", 0xA1), Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)
SESSION = Session(
    "pfcp-1",
    "pfcp",
    Identity("001010000000001", "35", "4915"),
    ue_ipv4="10.45.0.2",
    ue_ipv6="2001:db8::2",
    dnn="internet",
    tunnels=(UP, DOWN),
)


class TestPlaces:
    """A session that one source told and that never moved, as nearly all are."""

    def test_each_name_is_the_place_of_its_value(self):
        store = BindingStore(10)
        store.apply(SessionUp(17.0, SESSION))
        (shapes, _), ((shape, row, _),) = store.dump()
        freezer = Freezer()
        freezer.packer.load(shapes)
        values = freezer.packer.shapes[shape].read(row, 0)

        wanted = {
            "NUMBER": 1,
            "FIRST_S": 17.0,
            "KEY": "pfcp-1",
            "IMSI": "001010000000001",
            "UE_IPV4": "10.45.0.2",
            "UE_IPV6": "2001:db8::2",
        }
        assert {name: values[getattr(records, name)] for name in wanted} == wanted
        ends = [(t.address, t.teid) for t in (UP, DOWN)]
        pairs = values[records.TUNNELS :][: records.TUNNEL_VALUES * len(ends)]
        assert list(zip(pairs[::2], pairs[1::2], strict=True)) == ends
