"""The modules: accepted by two compilers, equal to the settings, and each rule refuses what it is for."""

import dataclasses
import enum
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from feed.records import APP_CLASSES
from mgmt.bind import bind
from mgmt.cli.keys import make
from mgmt.netconf.model.schema import Kind
from mgmt.netconf.model.yang_model import yang_dir
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.edit import apply_edit, empty_tree
from nf.qoe.models import PROFILES
from nf.qoe.profiles import constants
from nf.settings import Action, Encapsulation, Limits, Mode, Monitor, Policy, QoeProfile, Role, Settings, XdpMode

OWN = sorted(yang_dir().glob("snf-*.yang"))
LINT = ("--strict", "--lint", "--lint-ensure-hyphenated-names")
ETHERNET = '<type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">i:ethernetCsmacd</type>'


def tree_of(model, xml):
    return apply_edit(model, empty_tree(), etree.fromstring(f"<config>{xml}</config>"))[0]


def with_keys(path, folder):
    """Return an example with keys where it has places for them."""
    list(make(folder / "keys", [], (path.name, path.read_text())))
    return etree.parse(folder / "keys" / path.name).getroot()


def interface(name, capture):
    inner = f'<capture xmlns="urn:supernetflow:yang:snf-interfaces">{capture}</capture>'
    return f"<interface><name>{name}</name>{ETHERNET}{inner}</interface>"


def interfaces(*entries):
    return f'<interfaces xmlns="urn:ietf:params:xml:ns:yang:ietf-interfaces">{"".join(entries)}</interfaces>'


def policies(*entries):
    inner = "".join(f"<policy>{entry}</policy>" for entry in entries)
    return f'<policies xmlns="{POLICIES}">{inner}</policies>'


POLICIES = "urn:supernetflow:yang:snf-policies"
MONITOR_A = f'<policies xmlns="{POLICIES}"><monitor><interface>a</interface></monitor></policies>'


def session(name="s", more="<ue-ipv4>10.0.0.1</ue-ipv4>"):
    return f"<static-session><name>{name}</name>{more}</static-session>"


def subscribers(*entries):
    return f'<subscribers xmlns="urn:supernetflow:yang:snf-subscribers">{"".join(entries)}</subscribers>'


def qoe(inner):
    return f'<qoe xmlns="urn:supernetflow:yang:snf-qoe">{inner}</qoe>'


def flat(leaves, above=""):
    """Return the leaves of a container of constants by their paths in the profile."""
    for name, value in leaves.items():
        path = above + name.replace("-", "_")
        yield from flat(value, f"{path}.") if isinstance(value, dict) else [(path, value)]


def every(node):
    yield node
    for child in node.children.values():
        yield from every(child)


def exporter(inner):
    return f'<exporter xmlns="urn:supernetflow:yang:snf-export">{inner}</exporter>'


def privacy(inner):
    return f'<privacy xmlns="urn:supernetflow:yang:snf-privacy">{inner}</privacy>'


def application(inner):
    space = "urn:supernetflow:yang:snf-applications"
    return f'<applications xmlns="{space}"><application>{inner}</application></applications>'


def limits(inner):
    return f'<network-function xmlns="urn:supernetflow:yang:snf-function"><limits>{inner}</limits></network-function>'


class TestModules:
    """Each module is written as RFC 8407 asks, and there is one file name for one revision."""

    @pytest.mark.clause("R-25238", "R-63953", "R-28545", "R-93443")
    def test_pyang_has_nothing_to_say(self):
        folder = yang_dir()
        done = subprocess.run(
            [sys.executable, "-m", "pyang", *LINT, "-p", f"{folder}:{folder / 'ietf'}", *map(str, OWN)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_file_names_carry_the_revision_that_is_inside(self, model):
        named = {tuple(path.stem.split("@")) for path in OWN}
        assert named == {(m.name, m.revision) for m in model.modules.values() if m.name.startswith("snf-")}

    def test_no_expression_uses_deref(self):
        """Compilers differ in it (yuma123 refuses valid data), and a predicate says the same."""
        assert [path.name for path in OWN if "deref(" in path.read_text()] == []

    def test_modules_of_others_are_licensed_to_be_copied(self):
        for path in (yang_dir() / "ietf").glob("*.yang"):
            assert "Simplified BSD License" in " ".join(path.read_text().split()), path.name


def assert_no_default_is_left(part, entries):
    for f in dataclasses.fields(entries[0]):
        if f.default is not dataclasses.MISSING:
            assert any(getattr(e, f.name) != f.default for e in entries), (part, f.name)


class TestExamples:
    """The examples are configurations that the function takes."""

    @pytest.mark.clause("R-07545", "R-62468")
    def test_everything_sets_every_setting(self, model, tmp_path: Path):
        tree = apply_edit(model, empty_tree(), with_keys(yang_dir() / "examples/everything.xml", tmp_path))[0]
        settings = bind(model.validate(tree))

        for part in ("export", "privacy", "limits", "monitor", "management", "degradations"):
            value = getattr(settings, part)
            default = getattr(Settings(), part) or Monitor("")
            same = [f.name for f in dataclasses.fields(value) if getattr(value, f.name) == getattr(default, f.name)]
            assert same == [], part
        for part in ("interfaces", "sessions", "groups", "policies", "applications", "thresholds"):
            entries = getattr(settings, part)
            assert_no_default_is_left(part, entries)
        assert_no_default_is_left("degradations", settings.degradations.thresholds)
        assert settings.nf_id == "probe-7"

    def test_a_disabled_interface_is_not_one_of_the_function(self, model, tmp_path: Path):
        tree = apply_edit(model, empty_tree(), with_keys(yang_dir() / "examples/everything.xml", tmp_path))[0]
        assert "spare" not in [i.name for i in bind(model.validate(tree)).interfaces]


class TestAgreement:
    """A module and `nf.settings` agree on every value that both state."""

    def test_defaults_are_the_same(self, model):
        # A tree with one node gets the defaults of all modules.
        values = model.validate(tree_of(model, privacy("<epoch>0</epoch>")))
        assert values["snf-export:exporter"].keys() >= {"endpoint", "high-water-mark", "interval", "batch-rows"}
        assert values["snf-function:network-function"].keys() == {"name", "naming-workers", "limits"}
        assert bind(values) == Settings()
        assert bind({}) == Settings()

    def test_each_constant_of_a_profile_is_a_leaf_with_its_default(self, model):
        values = model.validate(tree_of(model, privacy("<epoch>0</epoch>")))["snf-qoe:qoe"]
        assert values.keys() == PROFILES.keys()
        for app_class, leaves in values.items():
            told = {path: float(value) for path, value in flat(leaves)}
            assert told == constants(PROFILES[app_class]), app_class

    def test_defaults_of_an_interface_are_the_same(self, model):
        values = model.validate(tree_of(model, interfaces(interface("a", "<role>n3</role>"))))
        (entry,) = bind(values).interfaces
        assert (entry.mode, entry.xdp, entry.force) == (Mode.MIRROR, XdpMode.AUTO, False)
        assert entry == type(entry)(name="a", role=Role.N3)

    @pytest.mark.parametrize(
        ("text", "kinds", "opens"),
        [
            ("auto", None, Encapsulation.every()),
            ("none", Encapsulation.NONE, Encapsulation.NONE),
            ("vxlan", Encapsulation.VXLAN, Encapsulation.VXLAN),
            ("mpls raw-ip", Encapsulation.MPLS | Encapsulation.RAW_IP, Encapsulation.MPLS | Encapsulation.RAW_IP),
        ],
    )
    def test_encapsulation_is_bound(self, model, text, kinds, opens):
        leaf = f"<role>n3</role><encapsulation>{text}</encapsulation>"
        (entry,) = bind(model.validate(tree_of(model, interfaces(interface("a", leaf))))).interfaces
        assert (entry.encapsulation, entry.opens) == (kinds, opens)

    def test_every_kind_of_encapsulation_has_a_bit(self, model):
        text = " ".join(kind.name.lower().replace("_", "-") for kind in Encapsulation.every())
        leaf = f"<role>n3</role><mode>local</mode><encapsulation>{text}</encapsulation>"
        (entry,) = bind(model.validate(tree_of(model, interfaces(interface("a", leaf))))).interfaces
        assert entry.encapsulation == Encapsulation.every()

    def test_ports_in_the_way_of_packets_open_no_tunnels_by_themselves(self, model):
        leaf = "<role>n6</role><mode>local</mode>"
        (entry,) = bind(model.validate(tree_of(model, interfaces(interface("a", leaf))))).interfaces
        assert not entry.opens & (Encapsulation.VXLAN | Encapsulation.GRE | Encapsulation.ERSPAN)

    @pytest.mark.parametrize(
        ("path", "values"),
        [
            ("interfaces/interface/capture/role", Role),
            ("interfaces/interface/capture/mode", Mode),
            ("interfaces/interface/capture/xdp-mode", XdpMode),
            ("policies/policy/action", Action),
            ("policies/policy/application-class", APP_CLASSES),
            ("applications/application/class", APP_CLASSES),
        ],
    )
    def test_enumerations_are_the_same(self, model, path, values):
        nodes, node = model.top.values(), None
        for name in path.split("/"):
            node = next(n for n in nodes if n.name == name)
            nodes = node.children.values()
        expected = [v.value for v in values] if isinstance(values, enum.EnumType) else list(values)
        assert [e.name() for e in node.handle.type().all_enums()] == expected

    def test_limits_of_the_kernel_tables_hold_the_defaults(self, model):
        both = f"<flows>{Limits().flows}</flows><sessions>{Limits().sessions}</sessions>"
        assert bind(model.validate(tree_of(model, limits(both)))).limits == Limits()

    def test_constants_that_are_not_the_default_ones_make_a_profile(self, model):
        xml = "<web><requests>4</requests></web><voice><silence><alone-s>9.5</alone-s></silence></voice>"
        found = bind(model.validate(tree_of(model, qoe(f"{xml}<n3><subscribers>5</subscribers></n3>")))).profiles
        assert found == (QoeProfile("n3", (("subscribers", 5),)), QoeProfile("voice", (("silence.alone_s", 9.5),)))

    def test_applications_that_are_judged_by_bytes_are_of_a_profile(self, model):
        xml = "<video><by-bytes>YouTube</by-bytes><by-bytes>Vimeo</by-bytes></video>"
        (profile,) = bind(model.validate(tree_of(model, qoe(xml)))).profiles
        assert profile == QoeProfile("video", by_bytes=("Vimeo", "YouTube"))

    def test_units_are_in_the_names_of_constants(self, model):
        (top,) = (node for node in model.top.values() if node.name == "qoe")
        ends = {"seconds": "-s", "milliseconds": "-ms", "bit/s": "-bps", "kbit/s": "-kbps", "Mbit/s": "-mbps"}
        for node in every(top):
            if node.kind is Kind.LEAF and (end := next((u for u, e in ends.items() if node.name.endswith(e)), None)):
                assert (node.handle.units() or node.handle.type().name()) == end, node.name

    def test_lists_are_ordered_by_name_so_that_equal_means_equal(self, model):
        one = "<name>b</name><application>x</application><action>count</action>"
        two = "<name>a</name><application>y</application><action>count</action>"
        first, second = (bind(model.validate(tree_of(model, policies(*p)))) for p in ((one, two), (two, one)))
        assert first == second
        assert first.policies == (
            Policy("a", Action.COUNT, application="y"),
            Policy("b", Action.COUNT, application="x"),
        )


P = "/snf-policies:policies/policy"
IF = "/ietf-interfaces:interfaces/interface"
S = "/snf-subscribers:subscribers/static-session"
PEERS = "<role>n3</role><mode>inline</mode><peer>{}</peer>"
POLICY = "<name>{}</name><application>{}</application><action>count</action>"
TUNNEL = "<uplink><address>192.0.2.1</address><teid>{}</teid></uplink>"

# XML, error-tag, error-app-tag, error-path. Tags: RFC 7950, 15; RFC 6241, appendix A.
RULES = [
    pytest.param(
        policies("<name>a</name><application>x</application><action>truncate</action>"),
        ("operation-failed", "truncate-needs-snap-length", f"{P}[name='a']"),
        id="truncate needs snap-length",
    ),
    pytest.param(
        policies(POLICY.format("a", "x") + "<snap-length>100</snap-length>"),
        ("operation-failed", "snap-length-without-truncate", f"{P}[name='a']"),
        id="snap-length needs truncate",
    ),
    pytest.param(
        policies("<name>a</name><action>count</action>"),
        ("data-missing", "missing-choice", f"{P}[name='a']"),
        id="a policy is for something",
    ),
    pytest.param(
        policies("<name>a</name><application>x</application>"),
        ("data-missing", "", f"{P}[name='a']/action"),
        id="a policy has an action",
    ),
    pytest.param(
        policies(POLICY.format("a", "x"), POLICY.format("b", "x")),
        ("operation-failed", "data-not-unique", f"{P}[name='b']"),
        id="one policy for an application",
    ),
    pytest.param(
        policies("<name>a</name><application>x</application><action>truncate</action><snap-length>63</snap-length>"),
        ("invalid-value", "", f"{P}[name='a']/snap-length"),
        id="snap-length has a range",
    ),
    pytest.param(policies(POLICY.format("a b", "x")), ("invalid-value", "", f"{P}/name"), id="a name has no spaces"),
    pytest.param(
        interfaces(interface("a", "<mode>mirror</mode>")),
        ("data-missing", "", f"{IF}[name='a']/snf-interfaces:capture/role"),
        id="an interface has a role",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role><mode>inline</mode>")),
        ("operation-failed", "inline-needs-peer", f"{IF}[name='a']/snf-interfaces:capture"),
        id="inline needs a peer",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role><peer>b</peer>"), interface("b", "<role>n3</role>")),
        ("operation-failed", "peer-", None),
        id="a peer needs inline",
    ),
    pytest.param(
        interfaces(interface("a", PEERS.format("b"))),
        ("data-missing", "instance-required", f"{IF}[name='a']/snf-interfaces:capture/peer"),
        id="the peer exists",
    ),
    pytest.param(
        interfaces(interface("a", PEERS.format("a"))),
        ("operation-failed", "peer-is-itself", f"{IF}[name='a']/snf-interfaces:capture/peer"),
        id="the peer is another",
    ),
    pytest.param(
        interfaces(interface("a", PEERS.format("b")), interface("b", "<role>n3</role>")),
        ("operation-failed", "peer-not-inline", f"{IF}[name='a']/snf-interfaces:capture/peer"),
        id="the peer is inline",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role><mode>local</mode><force>true</force>")),
        ("operation-failed", "force-without-mirror", f"{IF}[name='a']/snf-interfaces:capture"),
        id="force is for mirror",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n4</role><mode>local</mode>")),
        ("operation-failed", "n4-is-mirrored", f"{IF}[name='a']/snf-interfaces:capture"),
        id="N4 is mirrored",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role><network-instance>x</network-instance>")),
        ("operation-failed", "instance-without-n6", f"{IF}[name='a']/snf-interfaces:capture"),
        id="an instance is for N6",
    ),
    pytest.param(
        interfaces(*(interface(n, "<role>n3</role><mac-address>02:00:00:00:00:01</mac-address>") for n in ("a", "b"))),
        ("operation-failed", "duplicate-mac", None),
        id="a MAC address is one port",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role><mac-address>02:00:00:00:00</mac-address>")),
        ("invalid-value", "", f"{IF}[name='a']/snf-interfaces:capture/mac-address"),
        id="a MAC address has six octets",
    ),
    pytest.param(
        subscribers(session(more="<imsi>001010000000001</imsi>")),
        ("operation-failed", "session-matches-nothing", f"{S}[name='s']"),
        id="a session matches something",
    ),
    pytest.param(
        subscribers(session(more="<imsi>12345</imsi>")),
        ("invalid-value", "", f"{S}[name='s']/imsi"),
        id="an IMSI has six digits or more",
    ),
    pytest.param(
        subscribers(session(more="<imsi>0010100000000012</imsi>")),
        ("invalid-value", "", f"{S}[name='s']/imsi"),
        id="an IMSI has fifteen digits or less",
    ),
    pytest.param(
        subscribers(session(more=TUNNEL.format(0))),
        ("invalid-value", "", f"{S}[name='s']/uplink/teid"),
        id="TEID zero is signalling",
    ),
    pytest.param(
        subscribers(session(more=TUNNEL.format(2**32))),
        ("invalid-value", "", f"{S}[name='s']/uplink/teid"),
        id="a TEID has 32 bits",
    ),
    pytest.param(
        subscribers(session("a", TUNNEL.format(1)), session("b", TUNNEL.format(1))),
        ("operation-failed", "", f"{S}[name='b']/uplink[address='192.0.2.1'][teid='1']"),
        id="a tunnel is one session",
    ),
    pytest.param(
        subscribers(
            *(session(n, "<ue-ipv4>10.0.0.1</ue-ipv4><network-instance>x</network-instance>") for n in ("a", "b"))
        ),
        ("operation-failed", "data-not-unique", f"{S}[name='b']"),
        id="a UE address is one session in an instance",
    ),
    pytest.param(
        exporter("<endpoint>http://x</endpoint>"),
        ("invalid-value", "", "/snf-export:exporter/endpoint"),
        id="an endpoint is of ZeroMQ",
    ),
    pytest.param(
        exporter(f"<curve><public-key>{'a' * 40}</public-key></curve>"),
        ("data-missing", "missing-choice", "/snf-export:exporter/curve"),
        id="CURVE has a key pair",
    ),
    pytest.param(
        exporter(f"<curve><public-key>{'a' * 39}</public-key></curve>"),
        ("invalid-value", "", "/snf-export:exporter/curve/public-key"),
        id="a Z85 key has 40 characters",
    ),
    pytest.param(
        privacy("<key>AAECAwQFBgcICQoLDA0O</key>"),
        ("invalid-value", "", "/snf-privacy:privacy/key"),
        id="a key of 15 octets is too short",
    ),
    pytest.param(
        application("<name>a</name><class>video</class><domain>-x.com</domain>"),
        ("invalid-value", "", "/snf-applications:applications/application[name='a']/domain"),
        id="a domain is a domain",
    ),
    pytest.param(
        application("<name>a</name>"),
        ("data-missing", "", "/snf-applications:applications/application[name='a']/class"),
        id="an application has a class",
    ),
    pytest.param(
        application("<name>a</name><class>unknown</class>"),
        ("operation-failed", "class-is-known", "/snf-applications:applications/application[name='a']/class"),
        id="the class of an application is known",
    ),
    pytest.param(
        policies(POLICY.format("a", "x") + "<subscriber-group>b</subscriber-group>"),
        ("data-missing", "instance-required", f"{P}[name='a']/subscriber-group"),
        id="a policy is for a group that exists",
    ),
    pytest.param(
        policies().replace("></", "><subscriber-group><name>a</name></subscriber-group></"),
        ("operation-failed", "group-without-members", "/snf-policies:policies/subscriber-group[name='a']"),
        id="a group says who is in it",
    ),
    pytest.param(
        interfaces(interface("a", "<role>n3</role>")) + MONITOR_A,
        ("operation-failed", "monitor-is-captured", "/snf-policies:policies/monitor/interface"),
        id="a monitor port is not captured from",
    ),
    pytest.param(
        qoe("<download><plan-bps>100</plan-bps></download>"),
        ("operation-failed", "plan-bps-order", "/snf-qoe:qoe/download/plan-bps"),
        id="the best speed is above the worst",
    ),
    pytest.param(
        qoe("<web><sure>1.5</sure></web>"),
        ("invalid-value", "", "/snf-qoe:qoe/web/sure"),
        id="a confidence is 1 at most",
    ),
    pytest.param(
        limits("<flows>1023</flows>"),
        ("invalid-value", "", "/snf-function:network-function/limits/flows"),
        id="tables have a least size",
    ),
]


class TestRules:
    """A mistake that can be found before a commit is refused with the tag, the path and a sentence."""

    @pytest.mark.parametrize(("xml", "expected"), RULES)
    def test_a_rule_refuses(self, datastore, config, xml, expected):
        session_id = datastore.open_session()

        def edit_and_commit():
            datastore.edit(session_id, config(xml))
            datastore.commit(session_id)

        with pytest.raises(RpcError) as caught:
            edit_and_commit()

        tag, app_tag, path = expected
        assert (caught.value.tag, caught.value.path if path else None) == (tag, path)
        assert caught.value.app_tag.startswith(app_tag)
        assert caught.value.message.endswith(".")
        assert datastore.settings == Settings()

    def test_no_sentence_repeats_an_imsi(self, datastore, config):
        with pytest.raises(RpcError) as caught:
            datastore.edit(datastore.open_session(), config(subscribers(session(more="<imsi>00101123456789x</imsi>"))))
        assert "00101123456789x" not in f"{caught.value.message} {caught.value.path} {caught.value.info}"
