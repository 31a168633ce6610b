"""Access control (RFC 8341): what a user may call, read and change, and what an error tells him."""

import random

import pytest
from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.rpc import Dispatcher
from mgmt.netconf.served import Function
from mgmt.netconf.store.datastore import Datastore
from tests.mgmt.nacm_random import ACM, compare, instances, sample
from tests.mgmt.raw import BASE, names, served, tag_of

P = "urn:supernetflow:yang:snf-policies"
SUBSCRIBERS = "urn:supernetflow:yang:snf-subscribers"
PRIVACY = "urn:supernetflow:yang:snf-privacy"
KEY, IMSI = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=", "001010000000099"
CONFIG = (
    f'<policies xmlns="{P}">'
    "<policy><name>a</name><application>youtube</application><action>inspect</action></policy>"
    "<policy><name>b</name><application>netflix</application><action>count</action></policy></policies>"
    f'<privacy xmlns="{PRIVACY}"><key>{KEY}</key><epoch>3</epoch><opt-out>{IMSI}</opt-out></privacy>'
    f'<subscribers xmlns="{SUBSCRIBERS}"><static-session><name>hidden-phone</name><imsi>001010000000001</imsi>'
    "<ue-ipv4>10.45.0.2</ue-ipv4><uplink><address>192.0.2.7</address><teid>4097</teid></uplink></static-session>"
    "</subscribers>"
)
NOC = frozenset({"noc"})


def rules(*entries: str, more: str = "") -> str:
    inner = "".join(f"<rule><name>r{i}</name>{entry}</rule>" for i, entry in enumerate(entries))
    rule_list = f"<rule-list><name>noc</name><group>noc</group>{inner}</rule-list>" if entries else ""
    spaces = f'xmlns="{ACM}" xmlns:n="{ACM}" xmlns:p="{P}" xmlns:s="{SUBSCRIBERS}" xmlns:v="{PRIVACY}"'
    return f"<nacm {spaces}>{more}{rule_list}</nacm>"


def permit(path: str, access: str = "*") -> str:
    return f"<path>{path}</path><access-operations>{access}</access-operations><action>permit</action>"


def deny(path: str, access: str = "*") -> str:
    return f"<path>{path}</path><access-operations>{access}</access-operations><action>deny</action>"


WRITE_POLICIES = permit("/p:policies")


class Desk:
    """A datastore, and sessions that ask it."""

    def __init__(self, datastore: Datastore) -> None:
        self.datastore = datastore
        self.killed: list[int] = []
        self.served = served(datastore, Function(lambda: {}), lambda _, victim: not self.killed.append(victim))
        self._dispatcher = Dispatcher(self.served)
        self.sessions: dict[tuple[str, frozenset[str] | None], int] = {}

    def ask(self, operation: str, user: str = "bob", groups: frozenset[str] | None = NOC) -> etree._Element:
        number = self.sessions.setdefault((user, groups), 0) or self.datastore.open_session()
        self.sessions[user, groups] = number
        message = f'<rpc xmlns="{BASE}" xmlns:nc="{BASE}" message-id="1">{operation}</rpc>'
        reply = self._dispatcher.handle(Caller(number, user, groups=groups), message.encode())
        return etree.fromstring(reply.message)

    def admin(self, operation: str) -> etree._Element:
        return self.ask(operation, "root", frozenset({"admin"}))

    def edit(self, xml: str, more: str = "", **who: object) -> etree._Element:
        edit = f"<edit-config><target><candidate/></target>{more}<config>{xml}</config></edit-config>"
        return self.ask(edit, **who)

    def given(self, xml: str) -> None:
        for reply in (self.edit(xml, user="root", groups=frozenset({"admin"})), self.admin("<commit/>")):
            assert tag_of(reply) == "ok", etree.tostring(reply)


@pytest.fixture
def desk(datastore) -> Desk:
    return Desk(datastore)


def told(reply: etree._Element) -> str:
    return etree.tostring(reply).decode()


def path_of(reply: etree._Element) -> str:
    return reply.findtext(f".//{{{BASE}}}error-path", "")


class TestReading:
    """The rules say what a straight reading of RFC 8341, 3.4 says."""

    @pytest.mark.parametrize("seed", range(4))
    def test_of_random_rule_lists(self, model, seed):
        rng, tree = random.Random(seed), sample(model)
        found = instances(model, tree)

        answers = sum(compare(model, tree, found, rng) for _ in range(50))

        assert answers > 50 * 4 * len(found)


class TestOperations:
    """3.4.4: an operation is called by who may."""

    @pytest.mark.parametrize(
        ("operation", "groups", "expected"),
        [
            ("<kill-session><session-id>99</session-id></kill-session>", NOC, "access-denied"),
            ("<kill-session><session-id>99</session-id></kill-session>", frozenset(), "access-denied"),
            ("<kill-session><session-id>99</session-id></kill-session>", frozenset({"admin"}), "ok"),
            (f'<find-sessions xmlns="{SUBSCRIBERS}"/>', NOC, "access-denied"),
            (f'<find-sessions xmlns="{SUBSCRIBERS}"/>', frozenset({"admin"}), "data"),
            ("<discard-changes/>", frozenset(), "ok"),
            ("<close-session/>", frozenset(), "ok"),
        ],
    )
    def test_without_a_rule(self, desk, operation, groups, expected):
        assert tag_of(desk.ask(operation, groups=groups)) == expected

    def test_a_rule_permits_what_is_denied_by_default(self, desk):
        desk.given(rules("<rpc-name>kill-session</rpc-name><action>permit</action>"))

        assert tag_of(desk.ask("<kill-session><session-id>99</session-id></kill-session>")) == "ok"
        assert desk.killed == [99]

    def test_what_is_always_permitted(self, desk):
        desk.given(rules("<action>deny</action>", more="<exec-default>deny</exec-default>"))

        assert tag_of(desk.ask("<get/>")) == "access-denied"
        assert tag_of(desk.ask("<close-session/>")) == "ok"

    def test_the_error_says_which_operation(self, desk):
        reply = desk.ask("<kill-session><session-id>99</session-id></kill-session>")

        assert path_of(reply) == "/ietf-netconf:rpc/ietf-netconf:kill-session"
        assert (desk.killed, reply.findtext(f".//{{{BASE}}}error-type")) == ([], "protocol")


class TestGet:
    """3.2.4: what may not be read is left out without a word, before a filter looks."""

    @pytest.fixture(autouse=True)
    def configured(self, desk):
        desk.given(CONFIG + rules(deny("/p:policies/p:policy[p:name='b']")))

    @pytest.mark.parametrize("operation", ["<get/>", "<get-config><source><running/></source></get-config>"])
    def test_the_rest_is_there(self, desk, operation):
        reply = desk.ask(operation)

        assert "<epoch>3</epoch>" in told(reply)
        assert [n for n in names(reply, "name") if n in "ab"] == ["a"]
        for secret in (KEY, IMSI, "hidden-phone", "netflix", "rule-list", "denied-operations"):
            assert secret not in told(reply)

    def test_a_filter_cannot_ask_for_it(self, desk):
        for wanted in (
            f'<filter type="xpath" xmlns:v="{PRIVACY}" select="/v:privacy[starts-with(v:key,\'c\')]"/>',
            f'<filter><privacy xmlns="{PRIVACY}"><key>{KEY}</key></privacy></filter>',
            f'<filter><privacy xmlns="{PRIVACY}"><opt-out>{IMSI}</opt-out><epoch/></privacy></filter>',
        ):
            reply = desk.ask(f"<get-config><source><running/></source>{wanted}</get-config>")
            assert len(reply.find(f"{{{BASE}}}data")) == 0, wanted

    def test_who_may_read_reads_it(self, desk):
        reply = desk.admin("<get/>")

        for secret in (KEY, IMSI, "hidden-phone", "netflix", "rule-list", "<denied-operations>0<"):
            assert secret in told(reply)

    def test_refusals_are_counted(self, desk):
        desk.ask("<kill-session><session-id>9</session-id></kill-session>")
        desk.edit(CONFIG.replace("inspect", "count"))

        found = desk.admin(f'<get><filter><nacm xmlns="{ACM}"/></filter></get>')
        assert [names(found, f"denied-{what}") for what in ("operations", "data-writes", "notifications")] == [
            ["1"],
            ["1"],
            ["0"],
        ]


class TestEdit:
    """3.2.5: rights are needed for what an edit creates, changes and deletes, for each node."""

    @pytest.fixture(autouse=True)
    def configured(self, desk):
        desk.given(CONFIG + rules(deny("/p:policies/p:policy/p:action", "update"), WRITE_POLICIES))

    def policy(self, inner: str) -> str:
        return f'<policies xmlns="{P}"><policy>{inner}</policy></policies>'

    @pytest.mark.parametrize(
        ("inner", "path"),
        [
            ("<name>c</name><application>x</application><action>count</action>", None),
            ("<name>a</name><application>x</application>", None),
            ("<name>a</name><action>inspect</action>", None),  # has that value
            ("<name>a</name><action>count</action>", "policy[snf-policies:name='a']/snf-policies:action"),
        ],
    )
    def test_of_nodes_that_may_be_read(self, desk, inner, path):
        reply = desk.edit(self.policy(inner))

        assert tag_of(reply) == ("access-denied" if path else "ok")
        assert path_of(reply) == (f"/snf-policies:policies/snf-policies:{path}" if path else "")

    def test_an_entry_with_all_that_is_in_it(self, desk):
        desk.given(rules(deny("/p:policies/p:policy/p:snap-length"), WRITE_POLICIES))
        inner = "<name>c</name><application>x</application><action>truncate</action><snap-length>128</snap-length>"

        assert tag_of(desk.edit(self.policy(inner))) == "access-denied"

    def test_another_case_goes_without_a_right_to_delete(self, desk):
        desk.admin(f'<edit-config><target><candidate/></target><config><nacm xmlns="{ACM}" nc:operation="delete"/>'
                   "</config></edit-config>")  # fmt: skip
        desk.given(rules(deny("/p:policies", "delete"), WRITE_POLICIES))

        assert tag_of(desk.edit(self.policy("<name>a</name><application-class>web</application-class>"))) == "ok"
        assert tag_of(desk.edit(self.policy("<name>a</name><action nc:operation='delete'/>"))) == "access-denied"

    def test_nobody_without_a_rule_writes(self, desk):
        assert tag_of(desk.edit(self.policy("<name>a</name><application>x</application>"), groups=frozenset())) == (
            "access-denied"
        )

    def test_the_order_of_rules_is_a_value(self, desk):
        reply = desk.edit(f'<nacm xmlns="{ACM}" nc:operation="replace"/>', user="eve", groups=frozenset({"noc"}))
        assert tag_of(reply) == "access-denied"


class TestCommit:
    """3.2.8: a commit needs the rights to all that it changes, whoever made it."""

    def test_of_what_somebody_else_edited(self, desk):
        desk.given(CONFIG + rules(WRITE_POLICIES))
        epoch = f'<privacy xmlns="{PRIVACY}"><epoch>4</epoch></privacy>'
        desk.edit(epoch, user="root", groups=frozenset({"admin"}))

        reply = desk.ask("<commit/>")

        assert (tag_of(reply), path_of(reply)) == ("access-denied", "/snf-privacy:privacy/snf-privacy:epoch")
        assert desk.datastore.settings.privacy.epoch == 3
        assert tag_of(desk.ask("<discard-changes/>")) == "ok"  # 3.2.9

    def test_of_what_is_hidden_tells_no_more_than_that(self, desk):
        desk.given(CONFIG + rules(WRITE_POLICIES))
        key = f'<privacy xmlns="{PRIVACY}"><key>{KEY[:-4]}c2I=</key></privacy>'
        desk.edit(key, user="root", groups=frozenset({"admin"}))

        reply = desk.ask("<commit/>")

        assert (tag_of(reply), path_of(reply)) == ("access-denied", "/snf-privacy:privacy")
        assert "key" not in told(reply)

    def test_its_rules_are_those_from_before_it(self, desk):
        desk.given(CONFIG + rules(permit("/n:nacm")))
        desk.edit(rules(WRITE_POLICIES).replace("r0", "r1"))
        assert tag_of(desk.edit(CONFIG.replace("inspect", "count"))) == "access-denied"

        assert tag_of(desk.ask("<commit/>")) == "ok"

        assert (
            tag_of(desk.edit(f'<policies xmlns="{P}"><policy><name>a</name><action>count</action></policy></policies>'))
            == "ok"
        )
