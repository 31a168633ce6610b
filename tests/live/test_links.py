"""Links are watched: what goes is not-present, what comes back is attached again, and the state is the kernel's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from gtp.pfcp import build
from nf.errors import BadSettings
from nf.kernel import links
from nf.settings import Interface, Mode, Monitor, Role
from tests.live.conftest import wait_until
from tests.live.frames import sender
from tests.live.switchboard import FRAME, MAC, Switchboard, ip, switchboard

ROUNDS = 3  # two minutes of it are in tests/soak
N3 = Interface("n3", Role.N3)
LOCAL = Interface("n3", Role.N3, Mode.LOCAL)
INLINE = Interface("n3", Role.N3, Mode.INLINE, peer="n6"), Interface("n6", Role.N6, Mode.INLINE, peer="n3")
BY_MAC = Interface("access", Role.N3, mac=MAC)
N4 = Interface("n4", Role.N4)


@pytest.fixture(scope="module")
def made() -> Iterator[Switchboard]:
    with switchboard() as board:
        yield board


@pytest.fixture
def board(made) -> Iterator[Switchboard]:
    """The switchboard with a pair for n3, and nothing configured."""
    made.plug("n3")
    yield made
    made.use()
    for device in ("gnb", "dn", "smf"):
        made.unplug(device)


class TestGoesAndComesBack:
    """A port is deleted and made again, with traffic all the time: the same for every mode."""

    @pytest.mark.parametrize(
        ("interface", "queues", "attached"),
        [(N3, 1, "native"), (LOCAL, 1, "native"), (N3, 2, "generic")],
        ids=["mirror", "local", "generic after native is refused"],
    )
    def test_each_step_is_true_and_counts_go_on(self, board, interface, queues, attached, caplog):
        board.unplug("n3")
        board.plug("n3", queues=queues)
        board.use(interface)
        with sender("gnb", [FRAME]):
            for _ in range(ROUNDS):
                board.until("n3", "up", attached)
                counted = board.count_on("n3")

                board.unplug("n3")
                board.until("n3", "not-present", None)
                assert board.state("n3")["packets"] >= counted
                assert "the device n3 is gone" in board.state("n3")["not_attached"]

                board.plug("n3", queues=queues)
                board.until("n3", "up", attached)
                assert board.count_on("n3") > counted
        assert links.find(N3).xdp_program == board.state("n3")["program_id"]
        for line in ("n3: the device n3 is gone", "n3: not-present", "n3: attached again, to n3"):
            assert sum(line in message for message in caplog.messages) == ROUNDS

    def test_an_inline_pair_forwards_again_whichever_end_went(self, board):
        board.plug("n6")
        board.use(*INLINE)
        with sender("gnb", [FRAME]):
            for gone in ("n3", "n6"):
                board.arrives("dn", FRAME)
                board.unplug(gone)
                board.until(gone, "not-present", None)
                assert board.state({"n3": "n6", "n6": "n3"}[gone])["attached_mode"] == "native"

                board.plug(gone)
                board.until(gone, "up", "native")
            board.arrives("dn", FRAME)

    def test_signalling_is_heard_again(self, board):
        board.plug("n4")
        board.use(N4)
        ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        heartbeat = bytes(ether / IP() / UDP(sport=8805, dport=8805) / Raw(build.deletion_request(1, 1)))
        with sender("smf", [heartbeat]):
            counted = board.count_on("n4")

            board.unplug("n4")
            board.until("n4", "not-present", None)
            board.plug("n4")
            board.until("n4", "up", "socket")

            assert board.count_on("n4") > counted

    def test_the_monitor_port_gets_copies_again(self, board):
        board.plug("n6")
        board.use(N3)
        board.service.plane.set_monitor(Monitor("n6"))
        with sender("gnb", [FRAME]):
            board.arrives("dn", FRAME)
            board.unplug("n6")
            board.plug("n6")
            board.arrives("dn", FRAME)
        board.service.plane.set_monitor(None)


class TestState:
    """The function reports the kernel's state of a device (oper-status of RFC 8343)."""

    def test_without_carrier_and_set_down(self, board, caplog):
        board.use(LOCAL)
        board.until("n3", "up", "native")

        for device, to, state in (
            ("gnb", "down", "lower-layer-down"),
            ("gnb", "up", "up"),
            ("n3", "down", "down"),
            ("n3", "up", "up"),
        ):
            ip("link", "set", device, to)
            board.until("n3", state, "native")
            wait_until(lambda s=state: caplog.messages and caplog.messages[-1] == f"n3: {s}", f"the log says {state}")

    def test_a_program_that_somebody_takes_off_is_put_on_again(self, board, caplog):
        board.use(N3)
        with sender("gnb", [FRAME]):
            counted = board.count_on("n3")
            ip("link", "set", "n3", "xdp", "off")
            wait_until(lambda: "n3: attached again, to n3" in caplog.messages, "it is attached")

            assert board.count_on("n3") > counted
        assert any("somebody took the program off n3" in message for message in caplog.messages)

    def test_why_a_port_that_is_back_is_not_taken(self, board):
        """The function would take a host's own traffic away in mirror mode."""
        board.use(N3)
        board.unplug("n3")
        board.until("n3", "not-present", None)
        ip("link", "add", "unnamed", "type", "veth", "peer", "name", "gnb")
        ip("address", "add", "192.0.2.77/24", "dev", "unnamed")
        ip("link", "set", "unnamed", "name", "n3")
        board.until("n3", "down", None)
        wait_until(lambda: "own traffic" in board.state("n3")["not_attached"], "a reason")

        ip("address", "flush", "dev", "n3")
        for end in ("n3", "gnb"):
            ip("link", "set", end, "up")

        board.until("n3", "up", "native")
        assert "not_attached" not in board.state("n3")


class TestNames:
    """A device is found by what is configured: its name, or its address whatever it is called."""

    def test_a_device_that_is_renamed_is_left_as_it_was_found(self, board):
        board.use(N3)
        ip("link", "set", "n3", "down")
        ip("link", "set", "n3", "name", "other")
        board.until("n3", "not-present", None)
        found = links.find(Interface("other", Role.N3))
        shown = subprocess.run(["ip", "link", "show", "other"], capture_output=True, text=True, check=True).stdout

        assert not found.xdp_program
        assert not found.up
        assert "PROMISC" not in shown

        ip("link", "set", "other", "name", "n3")
        board.until("n3", "up", "native")

    def test_a_device_that_gets_the_name_is_taken(self, board):
        board.use(N3)
        board.unplug("n3")
        board.until("n3", "not-present", None)
        board.plug("n3", as_="eth7")
        ip("link", "set", "eth7", "down")
        ip("link", "set", "eth7", "name", "n3")

        board.until("n3", "up", "native")

    def test_by_address_under_another_name(self, board):
        board.unplug("n3")
        board.plug("n3", mac=MAC)
        board.use(BY_MAC)
        with sender("gnb", [FRAME]):
            counted = board.count_on("access")
            board.unplug("n3")
            board.until("access", "not-present", None)
            board.plug("n3", mac=MAC, as_="enp7s0")
            board.until("access", "up", "native")

            assert board.count_on("access") > counted
            assert board.state("access")["device"] == "enp7s0"

    def test_by_address_while_it_is_read(self, board, caplog):
        board.unplug("n3")
        board.plug("n3", mac=MAC)
        board.use(BY_MAC)
        program = board.state("access")["program_id"]
        ip("link", "set", "n3", "down")
        ip("link", "set", "n3", "name", "enp7s0")
        ip("link", "set", "enp7s0", "up")
        wait_until(lambda: "access: the device n3 is called enp7s0 now" in caplog.messages, "a log")

        assert board.state("access")["device"] == "enp7s0"
        assert links.find(BY_MAC).xdp_program == program


class TestCommits:
    """The configuration can be changed while a port is away."""

    @pytest.fixture
    def away(self, board) -> Switchboard:
        board.use(N3)
        board.unplug("n3")
        board.until("n3", "not-present", None)
        return board

    def test_what_is_changed_meanwhile_holds_when_it_is_back(self, away):
        away.use(LOCAL)
        away.plug("n3")
        away.until("n3", "up", "native")

        assert away.service.plane.attached["n3"].interface == LOCAL

    def test_what_is_taken_out_stays_out(self, away):
        away.use()
        away.plug("n3")
        away.plug("n6")
        away.use(Interface("n6", Role.N6))
        away.until("n6", "up", "native")

        assert not links.find(N3).xdp_program
        assert not away.service.plane.lost

    def test_a_refused_commit_goes_on_waiting(self, away):
        with pytest.raises(BadSettings, match="no-such-port"):
            away.use(Interface("no-such-port", Role.N6))
        assert away.state("n3")["oper_status"] == "not-present"
        away.plug("n3")

        away.until("n3", "up", "native")

    def test_a_new_port_must_be_there_unless_it_was_configured_before(self, away):
        away.use()
        with pytest.raises(BadSettings, match="No interface has the name n3"):
            away.use(N3)

        away.service.interfaces.patient = True
        away.use(N3)
        away.service.interfaces.patient = False
        assert "No interface has the name n3" in away.state("n3")["not_attached"]
        away.plug("n3")
        away.until("n3", "up", "native")
