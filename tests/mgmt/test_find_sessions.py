"""Sessions in operational state: by key at once, the rest by the page, and never an IMSI."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lxml import etree
from netconf_client.connect import connect_ssh
from netconf_client.error import RpcError
from netconf_client.ncclient import Manager

from gtp.events import NOWHERE, Identity, Place, Session, SessionUp, Side, Tunnel
from lab.wait import slowness
from mgmt.cli.bridge import _finder
from mgmt.cli.options import Access
from mgmt.netconf.served import Function
from mgmt.netconf.ssh.listener import NetconfServer
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, find

KEY = b"a key of the test"
S = "urn:supernetflow:yang:snf-subscribers"
COUNT = 12_000  # more than a page looks at
ROOT = Path(__file__).resolve().parents[2]
UPF, GNB = "192.0.2.10", "192.0.2.20"
PLACED = 4711  # its place was told


def imsi(n: int) -> str:
    return f"00101{n:010d}"


def ue(n: int) -> str:
    return f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"


def pseudonym(n: int) -> str:
    return hmac.new(KEY, imsi(n).encode(), hashlib.sha256).hexdigest()[:32]


def session(n: int) -> Session:
    tunnels = (Tunnel(UPF, n, Side.UPLINK), Tunnel(GNB, n, Side.DOWNLINK, local=False))
    dnn = "ims" if n % 100 == 0 else "internet"
    place = Place("NR", "001-01-00012d", "001-01-000010001") if n == PLACED else NOWHERE
    return Session(f"pfcp-{n}", "pfcp", Identity(imsi=imsi(n)), ue(n), "", dnn, "1-000001", dnn, tunnels, place=place)


@pytest.fixture(scope="module")
def store():
    names = Pseudonymiser(KEY, 1)
    store = BindingStore(2 * COUNT, pseudonymiser=names)
    for n in range(1, COUNT + 1):
        store.apply(SessionUp(1_700_000_000.0 + n, session(n)))
    unknown = Session("ngap-1", "ngap", ue_ipv4="", tunnels=(Tunnel(UPF, 0xABCDEF),))
    store.apply(SessionUp(1_700_000_000.0, unknown))
    return store, names


@pytest.fixture
def server(store, datastore, key_pair, tmp_path):
    key, users = key_pair("alice"), tmp_path / "users"
    users.write_text(f"alice {key.with_suffix('.pub').read_text()}")
    bindings, names = store
    with NetconfServer(
        datastore,
        Function(
            lambda: {
                "sources": {name: {"sessions": n} for name, n in bindings.count_by_source().items()},
                "session_counters": {"joined": 3},
            },
            lambda query: find(bindings, query, names),
        ),
        port=0,
        users_file=users,
    ) as server:
        yield server, key


@pytest.fixture
def client(server):
    running, key = server
    connection = connect_ssh(host="127.0.0.1", port=running.port, username="alice", key_filename=str(key))
    with Manager(session=connection, timeout=20 * slowness()) as manager:
        yield manager


def ask(client, **parameters):
    leaves = "".join(f"<{k.replace('_', '-')}>{v}</{k.replace('_', '-')}>" for k, v in parameters.items())
    reply = client.dispatch(f'<find-sessions xmlns="{S}">{leaves}</find-sessions>')
    return etree.fromstring(reply.xml if isinstance(reply.xml, bytes) else reply.xml.encode())


def numbers(reply) -> list[int]:
    return [int(n) for n in reply.xpath("s:session/s:number/text()", namespaces={"s": S})]


def leaf(reply, name) -> str | None:
    return reply.findtext(f"{{{S}}}{name}")


class TestByKey:
    """Each key of a session leads to it."""

    @pytest.mark.parametrize(
        "key",
        [
            {"imsi": imsi(4711)},
            {"subscriber": pseudonym(4711)},
            {"subscriber": pseudonym(4711)[:10]},
            {"ue_address": ue(4711)},
            {"ue_address": ue(4711), "network_instance": "internet"},
            {"tunnel_address": UPF, "teid": 4711},
            {"tunnel_address": GNB, "teid": 4711},
        ],
        ids="+".join,
    )
    def test_it_is_found(self, client, key):
        reply = ask(client, **key)
        assert numbers(reply) == [4711]
        assert leaf(reply, "known") == str(COUNT + 1)
        assert leaf(reply, "next") is None

    def test_what_is_said_of_it(self, client):
        (entry,) = ask(client, imsi=imsi(4711)).findall(f"{{{S}}}session")
        said = {etree.QName(e).localname: e.text for e in entry if not len(e)}
        assert said == {
            "number": "4711",
            "subscriber": pseudonym(4711),
            "source": "pfcp",
            "first-seen": "2023-11-14T23:31:51Z",
            "ue-ipv4": ue(4711),
            "dnn": "internet",
            "network-instance": "internet",
            "s-nssai": "1-000001",
            "sst": "1",
            "sd": "000001",
            "rat": "NR",
            "tai": "001-01-00012d",
            "cell": "001-01-000010001",
        }
        tunnels = [[leaf.text for leaf in t] for t in entry.findall(f"{{{S}}}tunnel")]
        assert tunnels == [[UPF, "4711", "uplink"], [GNB, "4711", "downlink"]]

    def test_one_without_identity_is_found_by_its_tunnel_and_has_a_pseudonym(self, client):
        (entry,) = ask(client, subscriber=f"teid:{UPF}:0x00abcdef").iter(f"{{{S}}}session")
        assert entry.findtext(f"{{{S}}}number") == str(COUNT + 1)
        assert re.fullmatch("teid-[0-9a-f]{32}", entry.findtext(f"{{{S}}}subscriber"))

    @pytest.mark.parametrize("published_lately", [True, False])
    def test_one_without_identity_is_found_by_its_published_name(self, client, store, published_lately):
        names = store[1]
        name = names.unknown(f"teid:{UPF}:0x00abcdef")
        if not published_lately:
            names._unknown.clear()
        found, after = [], 0
        while after is not None:
            reply = ask(client, subscriber=name[:12], **({"after": after} if after else {}))
            found += numbers(reply)
            after = leaf(reply, "next")
        assert found == [COUNT + 1]

    @pytest.mark.parametrize(
        "key",
        [
            {"imsi": "001019999999999"},
            {"subscriber": "0" * 32},
            {"ue_address": "192.0.2.1"},
            {"ue_address": ue(4711), "network_instance": "ims"},
            {"tunnel_address": UPF, "teid": COUNT + 1},
            {"imsi": imsi(4711), "ue_address": ue(4712)},
            {"imsi": imsi(4711), "dnn": "ims"},
        ],
        ids="+".join,
    )
    def test_nobody_else_is(self, client, key):
        assert numbers(ask(client, **key)) == []

    def test_get_with_the_key_gives_that_entry_alone(self, client):
        subtree = f'<subscribers xmlns="{S}"><state><session><number>12</number></session></state></subscribers>'
        xpath = "/s:subscribers/s:state/s:session[s:number='12']"
        replies = [
            client.get(filter=f'<filter xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{subtree}</filter>'),
            client.get(
                filter=f'<filter xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" type="xpath" xmlns:s="{S}" '
                f'select="{xpath}"/>'
            ),
        ]
        for reply in replies:
            assert reply.data_ele.xpath("//s:session/s:number/text()", namespaces={"s": S}) == ["12"]

    def test_get_without_a_key_gives_counts_and_no_sessions(self, client, libyang_reads):
        data = client.get(
            filter=f'<filter xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><subscribers xmlns="{S}"/></filter>'
        ).data_ele
        libyang_reads(data)
        assert data.xpath("//s:source/s:sessions/text()", namespaces={"s": S}) == ["1", str(COUNT)]
        assert data.xpath("//s:counter/s:value/text()", namespaces={"s": S}) == ["3"]
        assert not data.xpath("//s:session", namespaces={"s": S})

    def test_a_lookup_is_no_search(self, client):
        """Client and server take less processor time than looking at every session would."""
        begun_s = time.process_time()
        for n in range(1, 40):
            ask(client, imsi=imsi(n))
        assert (time.process_time() - begun_s) / 39 < 0.02 * slowness()


class TestPages:
    """A request without a key looks through the sessions a page at a time."""

    def test_every_session_is_on_one_page(self, client):
        seen, after, pages = [], 0, 0
        while True:
            reply = ask(client, after=after, limit=1000)
            seen += numbers(reply)
            pages += 1
            if leaf(reply, "next") is None:
                break
            after = int(leaf(reply, "next"))
        assert seen == list(range(1, COUNT + 2))
        assert pages == 13

    def test_a_page_that_has_looked_long_enough_says_where_to_go_on(self, client):
        reply = ask(client, teid=COUNT)
        assert numbers(reply) == []
        assert leaf(reply, "next") == "10000"
        assert numbers(ask(client, teid=COUNT, after=10_000)) == [COUNT]

    def test_filters(self, client):
        assert numbers(ask(client, dnn="ims", limit=3)) == [100, 200, 300]
        assert numbers(ask(client, source="ngap", after=10_000)) == [COUNT + 1]


class TestRefusals:
    """A request that makes no sense says which parameter it is."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("imsi", "12a45"),
            ("ue_address", "10.0.0"),
            ("teid", "0"),
            ("limit", "0"),
            ("limit", "1001"),
            ("after", "-1"),
        ],
    )
    def test_a_bad_value(self, client, name, value):
        with pytest.raises(RpcError) as refused:
            ask(client, **{name: value})
        assert refused.value.tag == "invalid-value"
        assert value == "0" or value not in (refused.value.message or "")

    def test_an_unknown_parameter(self, client):
        with pytest.raises(RpcError) as refused:
            ask(client, msisdn="49151")
        assert refused.value.tag == "unknown-element"


class TestPrivacy:
    """The IMSI goes in, and never comes out."""

    def test_no_reply_repeats_it(self, client):
        reply = ask(client, imsi=imsi(4711))
        assert numbers(reply) == [4711]
        assert imsi(4711) not in etree.tostring(reply).decode()
        assert not re.search(rf"{imsi(1)[:5]}\d{{10}}", etree.tostring(ask(client, limit=100)).decode())


class TestCommand:
    """``snf sessions`` asks and shows."""

    def snf(self, server, *words, **more):
        running, key = server
        command = [sys.executable, "-m", "mgmt.cli.main", "sessions", "--netconf", f"127.0.0.1:{running.port}"]
        command += ["--user", "alice", "--key", str(key), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **more)

    def test_a_bridge_asks_whose_an_address_is(self, server, tmp_path, monkeypatch):
        running, key = server
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        whose = _finder(Access(f"127.0.0.1:{running.port}", "alice", key, None))

        assert (whose(ue(7)), whose("10.99.0.1")) == (pseudonym(7), "")

    def test_a_table_with_the_counts(self, server):
        run = self.snf(server)
        assert run.returncode == 0, run.stderr
        assert pseudonym(1)[:8] in run.stdout
        assert f"20 shown of {COUNT + 1:,} sessions" in run.stdout
        assert f"pfcp {COUNT:,}" in run.stdout
        assert "joined 3" in run.stdout

    def test_json_of_one_subscriber_whose_imsi_is_read_from_standard_input(self, server):
        run = self.snf(server, "--imsi", "-", "--output", "json", input=imsi(77) + "\n")
        (row,) = map(json.loads, run.stdout.splitlines())
        assert (row["number"], row["ue-ipv4"], row["tunnel"][0]["teid"]) == ("77", ue(77), "77")

    def test_a_teid_as_operators_write_it(self, server):
        run = self.snf(server, "--tunnel", UPF, "--teid", "0x4d", "--output", "json")
        assert [json.loads(line)["number"] for line in run.stdout.splitlines()] == ["77"]

    def test_a_refusal_is_a_sentence(self, server):
        run = self.snf(server, "--address", "10.0.0")
        assert run.returncode == 2
        assert "Traceback" not in run.stderr
        assert run.stderr.startswith("snf: ")
