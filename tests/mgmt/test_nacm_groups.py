"""Groups of the users file: one may do everything, and a file or a configuration from before them locks nobody out."""

import base64

import pytest

from mgmt.netconf.served import Function
from mgmt.netconf.ssh.auth import Users
from mgmt.netconf.ssh.listener import NetconfServer
from mgmt.netconf.store.datastore import Datastore
from nf.errors import SnfError
from tests.mgmt.conftest import STATE, Bench
from tests.mgmt.raw import ask, tag_of, wrapped
from tests.mgmt.test_nacm import CONFIG, IMSI, KEY, rules

EDIT = f"<edit-config><target><candidate/></target>{wrapped(CONFIG)}</edit-config>"
READ = "<get-config><source><running/></source></get-config>"


@pytest.fixture
def public(key_pair):
    return {name: key_pair(name).with_suffix(".pub").read_text() for name in ("alice", "bob")}


@pytest.fixture
def served(tmp_path, recorder, key_pair, public):
    """Make a function with a users file, whose lines are written with {alice} and {bob} for the keys."""
    servers = []

    def make(*lines: str) -> Bench:
        users = tmp_path / "users"
        users.write_text("".join(line.format(**public).rstrip() + "\n" for line in lines))
        datastore = Datastore(tmp_path / "state", recorder)
        server = NetconfServer(datastore, Function(lambda: STATE), port=0, users_file=users)
        server.start()
        servers.append(server)
        return Bench(server, datastore, recorder, users, key_pair("alice"))

    yield make
    for server in servers:
        server.stop()


def asks(bench, user, key_pair, *operations):
    with bench.channel(user, key_pair(user)) as channel:
        replies = [ask(channel, operation) for operation in operations]
    return [tag_of(reply) for reply in replies], str([reply.xpath("string()") for reply in replies])


def wire(line: str) -> bytes:
    """Return a public key as it is on the wire."""
    return base64.b64decode(line.split()[1])


class TestUsersFile:
    """A line is a name and then a line of OpenSSH, whose one option is the groups."""

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (("alice {alice}", "bob {bob}"), {"alice": None, "bob": None, "eve": frozenset()}),
            (('alice group="admin" {alice}', "bob {bob}"), {"alice": frozenset({"admin"}), "bob": frozenset()}),
            (('alice group="noc,audit" {alice}', 'alice group="lab" {bob}'), {"alice": {"noc", "audit", "lab"}}),
        ],
    )
    def test_groups_of_a_user(self, tmp_path, public, lines, expected):
        users = tmp_path / "users"
        users.write_text("".join(line.format(**public) for line in lines))

        known = Users(users, tuple)

        assert {name: known.groups(name, wire(public["bob" if name == "bob" else "alice"])) for name in expected} == (
            expected
        )

    @pytest.mark.parametrize("option", ['group=""', 'group="a,,b"', 'group="*"', "group=admin", 'groups="admin"'])
    def test_what_is_none_is_a_sentence_with_its_line(self, tmp_path, public, option):
        users = tmp_path / "users"
        users.write_text(f"alice {option} {public['alice']}")
        with pytest.raises(SnfError, match="Line 1"):
            Users(users, tuple)

    def test_a_file_that_broke_gives_nobody_everything(self, tmp_path, public):
        users = tmp_path / "users"
        users.write_text(f"alice {public['alice']}")
        known = Users(users, tuple)
        users.write_text("alice is no line")

        assert (known.allows("alice", wire(public["alice"])), known.groups("alice", wire(public["alice"]))) == (
            False,
            frozenset(),
        )


class TestUpgrade:
    """Users of a file without a group may do everything, as they could before, until there are rules."""

    def test_from_before_there_were_rules(self, served, key_pair, caplog):
        bench = served("alice {alice}", "bob {bob}")

        tags, said = asks(bench, "bob", key_pair, EDIT, "<commit/>", READ)

        assert tags == ["ok", "ok", "data"]
        assert KEY in said
        assert IMSI in said
        assert 'Write group="admin"' in caplog.text

    def test_rules_are_for_them_too(self, served, key_pair):
        bench = served("alice {alice}", "bob {bob}")
        group = "<groups><group><name>noc</name><user-name>alice</user-name></group></groups>"
        rule = rules("<action>permit</action>", more=group)
        given = f"<edit-config><target><candidate/></target>{wrapped(CONFIG + rule)}</edit-config>"
        assert asks(bench, "alice", key_pair, given, "<commit/>")[0] == ["ok", "ok"]

        tags, said = asks(bench, "alice", key_pair, READ)
        assert (tags, KEY in said) == (["data"], True)
        tags, said = asks(bench, "bob", key_pair, READ, EDIT.replace("inspect", "count"))
        assert (tags, KEY in said, IMSI in said) == (["data", "access-denied"], False, False)


class TestFirstUser:
    """The group admin of the users file may do everything, whatever the rules say; others what the rules say."""

    def test_from_the_start(self, served, key_pair, caplog):
        bench = served('alice group="admin" {alice}', "bob {bob}")

        assert asks(bench, "bob", key_pair, EDIT)[0] == ["access-denied"]
        tags, said = asks(bench, "alice", key_pair, EDIT, "<commit/>", READ)
        assert (tags, KEY in said) == (["ok", "ok", "data"], True)
        tags, said = asks(bench, "bob", key_pair, READ)
        assert (tags, KEY in said) == (["data"], False)
        assert "may do everything" not in caplog.text

    def test_no_rule_locks_him_out(self, served, key_pair):
        bench = served('alice group="admin" {alice}')
        all_denied = rules("<action>deny</action>", more="<exec-default>deny</exec-default>").replace(">noc<", ">*<")
        given = f"<edit-config><target><candidate/></target>{wrapped(all_denied)}</edit-config>"

        assert asks(bench, "alice", key_pair, given, "<commit/>", READ)[0] == ["ok", "ok", "data"]

    def test_an_external_group_is_one_of_the_rules(self, served, key_pair):
        bench = served('alice group="admin" {alice}', 'bob group="noc" {bob}')
        given = f"<edit-config><target><candidate/></target>{wrapped(rules('<action>permit</action>'))}</edit-config>"
        asks(bench, "alice", key_pair, given, "<commit/>")

        assert asks(bench, "bob", key_pair, EDIT, "<commit/>")[0] == ["ok", "ok"]


class TestConfiguredKeys:
    """A key that stands in the configuration gives no group of the users file, whatever the name."""

    def test_a_key_under_the_name_of_an_administrator(self, served, key_pair, public):
        bench = served('alice group="admin" {alice}', 'bob group="noc" {bob}')
        space = "urn:supernetflow:yang:snf-management"
        kind, blob = public["bob"].split()[:2]
        key = f"<authorized-key><name>k</name><algorithm>{kind}</algorithm><key-data>{blob}</key-data></authorized-key>"
        added = f'<management xmlns="{space}"><user><name>alice</name>{key}</user></management>'
        given = f"<edit-config><target><candidate/></target>{wrapped(added)}</edit-config>"
        assert asks(bench, "alice", key_pair, given, "<commit/>")[0] == ["ok", "ok"]

        with bench.channel("alice", key_pair("bob")) as channel:
            assert tag_of(ask(channel, EDIT)) == "access-denied"
        assert asks(bench, "alice", key_pair, EDIT)[0] == ["ok"]
