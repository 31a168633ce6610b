"""Nothing that a user may not read comes to him, by no way around (RFC 8341, 3.2.4 and 3.2.5)."""

import ast
import logging
import re
from pathlib import Path

import pytest
from lxml import etree

from mgmt.netconf import operations
from mgmt.netconf.caller import Caller
from mgmt.netconf.store.datastore import Datastore
from tests.mgmt.nacm_random import ACM
from tests.mgmt.raw import BASE, tag_of
from tests.mgmt.test_nacm import NOC, PRIVACY, SUBSCRIBERS, Desk, P, deny, permit, rules, told

OPT_OUTS = "urn:supernetflow:yang:snf-opt-out"
RULES = rules(
    deny("/p:policies/p:policy[p:name='hush']"), deny("/p:policies/p:subscriber-group"), permit("/p:policies")
)
SEEN = "<policy><name>a</name><application>youtube</application><action>inspect</action></policy>"
HUSH = "<policy><name>hush</name><application>whisper-app</application><action>count</action></policy>"
GROUP = "<subscriber-group><name>veiled-group</name><dnn>veiled-dnn</dnn></subscriber-group>"
KEY, IMSI = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=", "001010000000099"
SESSION = (
    f'<subscribers xmlns="{SUBSCRIBERS}"><static-session><name>hidden-phone</name><imsi>001010000000001</imsi>'
    "<ue-ipv4>10.45.0.2</ue-ipv4><uplink><address>192.0.2.7</address><teid>4097</teid></uplink></static-session>"
    "</subscribers>"
)


def policies(*entries: str) -> str:
    return f'<policies xmlns="{P}">{"".join(entries)}</policies>'


def private(inner: str) -> str:
    return f'<privacy xmlns="{PRIVACY}"><epoch>3</epoch>{inner}</privacy>'


FULL = (
    policies(SEEN, HUSH, GROUP)
    + private(f"<key>{KEY}</key><opt-out>{IMSI}</opt-out>")
    + SESSION
    + f'<opt-outs xmlns="{OPT_OUTS}"><subscriber><imsi>001010000000098</imsi></subscriber></opt-outs>'
)
BARE = policies(SEEN) + private("")
TIME = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)")
MARKS = ("whisper-app", "veiled-group", "veiled-dnn", KEY, IMSI, "001010000000098", "hidden-phone", "001010000000001")
HIDDEN = {  # a fragment that names a hidden node, and how it is written with an operation
    "policy": lambda op: policies(HUSH.replace("<policy>", f"<policy {op}>")),
    "leaf": lambda op: policies(f"<policy><name>hush</name><action {op}>count</action></policy>"),
    "group": lambda op: policies(f"<subscriber-group {op}><name>veiled-group</name></subscriber-group>"),
    "entry": lambda op: policies(
        f"<subscriber-group><name>veiled-group</name><dnn {op}>veiled-dnn</dnn></subscriber-group>"
    ),
    "key": lambda op: f'<privacy xmlns="{PRIVACY}"><key {op}>{KEY}</key></privacy>',
    "other key": lambda op: f'<privacy xmlns="{PRIVACY}"><key {op}>AAECAwQFBgcICQoLDA0ODw==</key></privacy>',
    "opt-out": lambda op: f'<privacy xmlns="{PRIVACY}"><opt-out {op}>{IMSI}</opt-out></privacy>',
    "opt-outs": lambda op: (
        f'<opt-outs xmlns="{OPT_OUTS}"><subscriber {op}><imsi>001010000000098</imsi></subscriber></opt-outs>'
    ),
    "session": lambda op: SESSION.replace("<static-session>", f"<static-session {op}>"),
    "whole": lambda op: f'<subscribers xmlns="{SUBSCRIBERS}" {op}/>',
}
OPERATIONS = ("", *(f'nc:operation="{o}"' for o in ("merge", "replace", "create", "delete", "remove")))
WD = '<with-defaults xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults">{}</with-defaults>'
DATA = (
    '<get-data xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-nmda" '
    'xmlns:ds="urn:ietf:params:xml:ns:yang:ietf-datastores">'
    "<datastore>ds:{}</datastore>{}<with-defaults>{}</with-defaults></get-data>"
)
CONFIGURED = "".join(
    f'<{name} xmlns="{space}"/>'
    for name, space in (("policies", P), ("privacy", PRIVACY), ("subscribers", SUBSCRIBERS), ("opt-outs", OPT_OUTS))
)
SUBTREE = f"<subtree-filter>{CONFIGURED}</subtree-filter>"
MODES = ("explicit", "report-all", "report-all-tagged", "trim")
READS = (
    "<get/>",
    *(f"<get><filter>{CONFIGURED}</filter>{WD.format(mode)}</get>" for mode in MODES),
    *(f"<get-config><source><running/></source>{WD.format(mode)}</get-config>" for mode in MODES),
    *(DATA.format(store, SUBTREE, mode) for store in ("running", "candidate", "operational") for mode in MODES),
    "<get-config><source><running/></source></get-config>",
    "<get-config><source><candidate/></source></get-config>",
    *(
        f'<get-config><source><running/></source><filter type="xpath" xmlns:p="{P}" xmlns:v="{PRIVACY}" '
        f'xmlns:s="{SUBSCRIBERS}" select="{select}"/></get-config>'
        for select in (
            "/p:policies/p:policy[p:application='whisper-app']",
            "/v:privacy[v:key]/v:epoch",
            "//*[.='001010000000001']/..",
            "/p:policies[count(p:policy)=2]/p:policy",
            "/v:privacy/v:epoch[//s:imsi]",
        )
    ),
    f'<find-sessions xmlns="{SUBSCRIBERS}"><imsi>001010000000001</imsi></find-sessions>',
)
WRITES = (
    "<copy-config><target><candidate/></target><source><running/></source></copy-config>",
    "<validate><source><candidate/></source></validate>",
    "<commit/>",
)


def edit(xml: str, more: str = "") -> str:
    return f"<edit-config><target><candidate/></target>{more}<config>{xml}</config></edit-config>"


@pytest.fixture
def desks(tmp_path, recorder):
    """A function with much that is hidden, and one with nothing hidden; who may not see it sees the same."""
    made = []
    for name, xml in (("full", FULL), ("bare", BARE)):
        desk = Desk(Datastore(tmp_path / name, recorder))
        desk.given(xml + RULES)
        made.append(desk)
    return made


class TestTwoFunctions:
    """Replies of two functions that differ only in what is hidden are the same, byte by byte."""

    def same(self, desks, request):
        full, bare = (TIME.sub("", told(desk.ask(request))) for desk in desks)
        assert full == bare
        return full

    @pytest.mark.parametrize("request_", READS)
    def test_reading(self, desks, request_):
        reply = self.same(desks, request_)
        assert not [mark for mark in MARKS if mark in reply]

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("what", HIDDEN)
    def test_editing(self, desks, what, operation):
        for default in ("merge", "none"):
            more = f"<default-operation>{default}</default-operation>"
            for option in ("", "<error-option>continue-on-error</error-option>"):
                reply = self.same(desks, edit(HIDDEN[what](operation), more + option))
                if (operation, default) != ("", "none"):
                    assert "access-denied" in reply or what == "whole"
                assert not [mark for mark in MARKS if mark in reply and mark not in HIDDEN[what](operation)]
                self.same(desks, "<discard-changes/>")


class TestActions:
    """An action needs a right of its own; a node on the way that may not be read is refused before it is looked for."""

    IF = "urn:ietf:params:xml:ns:yang:ietf-interfaces"
    N3 = (
        f'<interfaces xmlns="{IF}"><interface><name>n3</name>'
        '<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>'
        '<capture xmlns="urn:supernetflow:yang:snf-interfaces"><role>n3</role></capture></interface></interfaces>'
    )
    RULE = (
        f'<path xmlns:f="{IF}" xmlns:c="urn:supernetflow:yang:snf-interfaces">'
        "/f:interfaces/f:interface[f:name='n3']/c:capture/c:reset-statistics</path><action>permit</action>"
    )
    HIDE = f"<path xmlns:f=\"{IF}\">/f:interfaces/f:interface[f:name='n3']</path><action>deny</action>"

    def reset(self, name):
        inner = '<capture xmlns="urn:supernetflow:yang:snf-interfaces"><reset-statistics/></capture>'
        way = f'<interfaces xmlns="{self.IF}"><interface><name>{name}</name>{inner}</interface></interfaces>'
        return f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{way}</action>'

    def test_without_a_rule(self, desks):
        desks[0].given(self.N3)

        assert tag_of(desks[0].admin(self.reset("n3"))) == "operation-failed"  # the desk has no statistics
        assert tag_of(desks[0].ask(self.reset("n3"))) == "access-denied"

    def test_with_one(self, desks):
        desks[0].given(self.N3 + rules(self.RULE))

        assert tag_of(desks[0].ask(self.reset("n3"))) == "operation-failed"
        assert tag_of(desks[0].ask(self.reset("n4"))) == "access-denied"

    def test_a_hidden_way_is_not_told(self, desks):
        desks[0].given(self.N3 + rules(self.HIDE, permit("/")))
        desks[1].given(rules(self.HIDE, permit("/")))

        replies = {told(desk.ask(self.reset("n3"))) for desk in desks}

        assert len(replies) == 1
        assert "access-denied" in replies.pop()


class TestNotifications:
    """A notification comes to who may hear it, without the paths that he may not read."""

    SPACE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"

    def event(self, *targets):
        edits = "".join(
            f'<edit><target xmlns:v="{PRIVACY}" xmlns:p="{P}">{target}</target><operation>create</operation></edit>'
            for target in targets
        )
        return etree.fromstring(f'<netconf-config-change xmlns="{self.SPACE}">{edits}</netconf-config-change>')

    def seen(self, desk, event, groups=NOC):
        return desk.served.access.seen(Caller(7, "bob", groups=groups), event)

    def test_hidden_paths_are_left_out(self, desks):
        event = self.event(
            "/v:privacy/v:key", "/p:policies/p:policy[p:name='hush']", "/p:policies/p:policy[p:name='a']"
        )

        assert self.seen(desks[0], event).xpath("//*[local-name()='target']/text()") == [
            "/p:policies/p:policy[p:name='a']"
        ]
        assert self.seen(desks[0], event, frozenset({"admin"})) is event

    def test_a_rule_about_one(self, desks):
        desk = desks[0]
        denied = "<notification-name>netconf-config-change</notification-name><action>deny</action>"
        desk.given(rules(denied, permit("/p:policies")))

        assert self.seen(desk, self.event("/p:policies")) is None
        found = desk.admin(f'<get><filter><nacm xmlns="{ACM}"/></filter></get>')
        assert "<denied-notifications>1</denied-notifications>" in told(found)


class TestAlarms:
    """An alarm about a node that may not be read is neither in a reply nor sent."""

    SPACE = "urn:ietf:params:xml:ns:yang:ietf-alarms"

    def alarm(self, name, resource):
        path = f'<resource xmlns:p="{P}" xmlns:s="{SUBSCRIBERS}">{resource}</resource>'
        return f'<{name} xmlns="{self.SPACE}">{path}<alarm-text>of {resource}</alarm-text></{name}>'

    def test_of_one_that_may_and_one_that_may_not(self, desks):
        access, bob = desks[0].served.access, Caller(7, "bob", groups=NOC)
        seen, hidden = "/p:policies/p:policy[p:name='a']", "/s:subscribers/s:static-session[s:name='hidden-phone']"
        both = self.alarm("alarm", seen) + self.alarm("alarm", hidden)
        alarms = f'<alarms xmlns="{self.SPACE}"><alarm-list>{both}</alarm-list></alarms>'
        tree = etree.fromstring(f"<data>{alarms}{SESSION}</data>")

        assert "hidden-phone" not in told(access.prune(bob, tree))
        assert "policy" in told(tree)
        for resource, expected in ((seen, True), (hidden, False)):
            event = etree.fromstring(self.alarm("alarm-notification", resource))
            assert (access.seen(bob, event) is event) == expected


class TestDefaults:
    """A leaf that may not be read does not come back with its default."""

    @pytest.mark.parametrize("mode", ["report-all", "report-all-tagged", "explicit", "trim"])
    @pytest.mark.parametrize("operation", ["<get>%s</get>", "<get-config><source><running/></source>%s</get-config>"])
    def test_it_is_not_there(self, desks, operation, mode):
        desks[0].given(rules(deny("/v:privacy/v:epoch", "read"), permit("/p:policies")))
        space = "urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults"
        asked = operation % f'<with-defaults xmlns="{space}">{mode}</with-defaults>'

        assert "<epoch" not in told(desks[0].ask(asked))
        assert "<epoch" in told(desks[0].admin(asked))


class TestOperationsThatChange:
    """Each that changes a datastore says by whose rights."""

    MUTATORS = ("edit", "commit", "copy_to_candidate", "copy_to_running", "roll_back")

    def test_none_is_without(self):
        folder = Path(operations.__file__).parent
        calls = [
            (path.name, node)
            for path in sorted(folder.glob("*.py"))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in self.MUTATORS
        ]
        assert len(calls) >= len(self.MUTATORS)
        assert [f"{name}:{call.lineno}" for name, call in calls if "guard" not in ast.unparse(call)] == []


class TestHiddenDefaults:
    """A default is not told of a node that may not be read: it would say that the node is not set."""

    @pytest.mark.parametrize("mode", ["report-all", "report-all-tagged"])
    def test_of_a_hidden_leaf(self, tmp_path, recorder, mode):
        desk = Desk(Datastore(tmp_path / "state", recorder))
        desk.given(policies(SEEN) + rules(deny("/p:policies/p:policy/p:subscriber-group"), permit("/p:policies")))

        for request in (
            f"<get-config><source><running/></source>{WD.format(mode)}</get-config>",
            DATA.format("running", "", mode),
        ):
            reply = told(desk.ask(request))
            assert "youtube" in reply
            assert "subscriber-group" not in reply


class TestErrors:
    """An error about what is hidden says that there is one, and nothing of it."""

    @pytest.mark.parametrize("request_", WRITES)
    def test_a_candidate_of_somebody_else(self, desks, request_, caplog):
        caplog.set_level(logging.DEBUG)
        for bad in (
            private("<previous-key>AAECAwQFBgcICQoLDA0ODw==</previous-key>").replace(
                "<previous", "<key nc:operation='remove'/><previous"
            ),
            policies("<policy><name>hush</name><action>truncate</action></policy>"),
            SESSION.replace("hidden-phone", "hidden-two").replace(
                "10.45.0.2", "10.45.0.9"
            ),  # one tunnel of two sessions
        ):
            desk = desks[0]
            assert tag_of(desk.admin(edit(bad))) == "ok"

            reply = told(desk.ask(request_))

            assert "error-tag" in reply
            for mark in (*MARKS, "hidden-two", "previous", "truncate", "snap-length", "hush"):
                assert mark not in reply
            desk.admin("<discard-changes/>")
        assert not [mark for mark in MARKS if mark in caplog.text]

    def test_an_error_that_names_another_entry(self, desks):
        desk = desks[0]
        hidden = deny("/s:subscribers/s:static-session[s:name='hidden-phone']")
        desk.given(rules(hidden, permit("/s:subscribers"), permit("/p:policies")))
        mine = SESSION.replace("hidden-phone", "mine").replace("10.45.0.2", "10.45.0.9").replace("000001<", "000002<")

        reply = told(desk.ask(edit(mine, "<test-option>test-then-set</test-option>")))

        assert "operation-failed" in reply
        assert "hidden-phone" not in reply


class TestLocks:
    """An error of the protocol is about sessions, and says what it has to."""

    def test_who_has_the_lock(self, desks):
        desk = desks[0]
        desk.ask("<get/>")
        owner = desk.sessions["bob", NOC]
        desk.given(f'<privacy xmlns="{PRIVACY}"><epoch>{owner}</epoch></privacy>' + rules(deny("/v:privacy")))
        lock = "<lock><target><candidate/></target></lock>"
        assert tag_of(desk.ask(lock)) == "ok"

        assert f"<session-id>{owner}</session-id>" in told(desk.ask(lock, user="eve"))


class TestRestore:
    """Read, replace with what was read, commit."""

    READ = "<get-config><source><running/></source></get-config>"

    def restored(self, desk, **who):
        """Return the replies of replacing candidate with what a user reads, in three ways, each committed."""
        data = desk.ask(self.READ, **who).find(f"{{{BASE}}}data")
        xml = "".join(etree.tostring(child).decode() for child in data)
        each = "".join(
            etree.tostring(child)
            .decode()
            .replace(">", ' nc:operation="replace">', 1)
            .replace('/ nc:operation="replace">', ' nc:operation="replace"/>', 1)
            for child in data
        )
        requests = (
            edit(xml, "<default-operation>replace</default-operation>"),
            f"<copy-config><target><candidate/></target><source><config>{xml}</config></source></copy-config>",
            edit(each),
        )
        found = []
        for request in requests:
            found.append((tag_of(desk.ask(request, **who)), tag_of(desk.ask("<commit/>", **who))))
            desk.admin("<discard-changes/>")
        return found

    def test_by_an_administrator_changes_nothing(self, desks, recorder):
        desk = desks[0]
        before, calls, xml = desk.datastore.settings, len(recorder.calls), told(desk.datastore.tree("running"))
        told_of: list[object] = []
        desk.datastore.events.listen(told_of.append)

        assert self.restored(desk, user="root", groups=frozenset({"admin"})) == [("ok", "ok")] * 3

        assert (desk.datastore.revision, desk.datastore.settings, told_of) == (1, before, [])
        assert (len(recorder.calls), told(desk.datastore.tree("running"))) == (calls, xml)

    def test_by_somebody_else_is_refused(self, desks):
        desk = desks[0]
        before = told(desk.datastore.tree("running"))

        found = self.restored(desk)

        assert [edited for edited, _ in found] == ["access-denied"] * 3
        assert (told(desk.datastore.tree("running")), desk.datastore.revision) == (before, 1)

    def test_by_one_who_may_write_all_but_read_no_secret(self, desks):
        """The right to delete is not enough where one does not know what."""
        desk = desks[0]
        desk.given(rules(deny("/v:privacy/v:key", "read"), deny("/v:privacy/v:opt-out", "read"), permit("/")))

        assert self.restored(desk)[0][0] == "access-denied"

        named = f'<privacy xmlns="{PRIVACY}"><opt-out nc:operation="delete">{IMSI}</opt-out></privacy>'
        assert tag_of(desk.ask(edit(named))) == "ok"


class TestSecretsChange:
    """A change of a secret is a change: a revision and an event with its path, without its value."""

    def test_another_key(self, desks):
        desk = desks[0]
        heard = []
        desk.datastore.events.listen(heard.append)

        desk.given(f'<privacy xmlns="{PRIVACY}"><key>AAECAwQFBgcICQoLDA0ODw==</key></privacy>')

        (event,) = heard
        assert (event.revision, [(c.operation, c.path) for c in event.changes]) == (
            2,
            [("update", "/snf-privacy:privacy/key")],
        )
        assert "AAECAwQFBgcICQoLDA0ODw" not in repr(event)
