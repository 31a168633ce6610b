"""Nothing that a user may not read comes to him, by no way around (RFC 8341, 3.2.4 and 3.2.5)."""

import logging
import re

import pytest
from lxml import etree

from mgmt.netconf.store.datastore import Datastore
from tests.mgmt.raw import BASE, tag_of
from tests.mgmt.test_nacm import PRIVACY, SUBSCRIBERS, Desk, P, deny, permit, rules, told

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
TIME = re.compile(r"20\d\d-\d\d-\d\dT[0-9:.]+Z")
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
READS = (
    "<get/>",
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


@pytest.mark.clause("RFC 8341")
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


@pytest.mark.clause("R-01382")
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
