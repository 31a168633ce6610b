"""Published names: stable under one key, unlinkable under another, and never the IMSI."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.report import COLUMNS, sessions_rows

IMSI = "001010000000001"
UPLINK = Tunnel("192.0.2.10", 0xA1)
RADIO = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)
NEW_RADIO = Tunnel("192.0.2.21", 0xC3, Side.DOWNLINK, local=False)
SESSION = Session(
    key="s1",
    source="pfcp",
    identity=Identity(imsi=IMSI),
    ue_ipv4="10.45.0.2",
    ue_ipv6="2001:db8:1::/56",
    dnn="internet",
    snssai="1-00000a",
    instance="internet",
    tunnels=(UPLINK, RADIO),
)


class TestName:
    """HMAC-SHA-256 over the digits of the IMSI, cut to 128 bits."""

    def test_it_is_that_of_openssl(self):
        """printf 001010000000001 | openssl dgst -sha256 -hmac key"""
        assert Pseudonymiser(b"key", 0).name(IMSI) == "11362a8fb0b3362b720f5b62ea2d3947"

    def test_it_is_32_hexadecimal_digits_without_the_imsi(self):
        name = Pseudonymiser(b"k" * 32, 1).name(IMSI)
        assert re.fullmatch("[0-9a-f]{32}", name)
        assert IMSI not in name

    def test_another_key_gives_another_name(self):
        assert Pseudonymiser(b"a" * 32, 1).name(IMSI) != Pseudonymiser(b"b" * 32, 2).name(IMSI)

    def test_without_a_key_each_process_draws_its_own(self):
        assert Pseudonymiser(b"", 0).name(IMSI) != Pseudonymiser(b"", 0).name(IMSI)

    def test_it_shows_its_epoch_and_not_its_key(self):
        assert repr(Pseudonymiser(b"secret", 3)) == "Pseudonymiser(epoch=3)"


class TestUnknown:
    """A subscriber without an IMSI has a name as well: of the address or the tunnel, with what it is of before it."""

    @pytest.mark.parametrize(
        ("name", "digits"),
        [
            ("ue:internet:10.45.0.2", "d0203dcea523707b95334c282f270b3b"),
            ("teid:192.0.2.10:0x000000a1", "16958706e7b4a54d26325603a98afb18"),
        ],
    )
    def test_it_is_that_of_openssl(self, name, digits):
        """printf ue:internet:10.45.0.2 | openssl dgst -sha256 -hmac key"""
        assert Pseudonymiser(b"key", 0).unknown(name) == f"{name.partition(':')[0]}-{digits}"

    def test_no_address_is_in_it_and_no_imsi_has_it(self):
        names = Pseudonymiser(b"key", 0)
        assert re.fullmatch("ue-[0-9a-f]{32}", names.unknown(f"ue::{IMSI}"))
        assert names.name(IMSI) not in names.unknown(f"ue::{IMSI}")

    def test_who_has_neither_stays_unknown(self):
        assert Pseudonymiser(b"key", 0).unknown("unknown") == "unknown"

    def test_a_name_under_the_previous_key_is_understood(self):
        names = Pseudonymiser(b"new", 1, b"old")
        now = names.unknown("ue::10.45.0.2")
        assert names.current(Pseudonymiser(b"old", 0).unknown("ue::10.45.0.2")) == now

    def test_its_imsi_is_never_among_those_that_are_exported(self):
        names = Pseudonymiser(b"key", 0)
        names.unknown("ue::10.45.0.2")
        assert names.named(again=True) == {}


class TestNothingSaysIt:
    """No text that a log could hold has the IMSI in it."""

    def test_neither_events_nor_bindings_nor_what_the_kernel_is_told(self):
        store = BindingStore(10)
        events = [SessionUp(1.0, SESSION), SessionMoved(2.0, SESSION, (RADIO,))]
        changes = [change for event in events for change in store.apply(event)]
        assert changes
        for thing in (*events, *changes, *store.by_imsi(IMSI), store.counters):
            assert IMSI not in repr(thing)
            assert IMSI not in str(thing)


class TestReport:
    """The rows of `snf replay --sessions`: what was asked for, so the IMSI is in it."""

    def test_a_row_has_all_that_the_session_ever_was(self):
        store = BindingStore(10)
        moved = replace(SESSION, tunnels=(UPLINK, NEW_RADIO))
        store.apply(SessionUp(1.5, SESSION))
        store.apply(SessionMoved(2.0, moved, gone=(RADIO,)))
        store.apply(SessionDown(9.25, moved, EndReason.DELETED))
        assert sessions_rows(store) == [
            {
                "imsi": IMSI,
                "msin": "",
                "ue_ipv4": "10.45.0.2",
                "ue_ipv6": "2001:db8:1::/56",
                "dnn": "internet",
                "snssai": "1-00000a",
                "teids": "0x000000a1@192.0.2.10 0x000000b2@192.0.2.20 0x000000c3@192.0.2.21",
                "source": "pfcp",
                "first_s": "1.500000",
                "last_s": "9.250000",
                "ended_by": "deleted",
            }
        ]

    def test_one_that_still_holds_has_no_end(self):
        store = BindingStore(10)
        store.apply(SessionUp(1.5, SESSION))
        (row,) = sessions_rows(store)
        assert (row["last_s"], row["ended_by"]) == ("", "")
        assert tuple(row) == COLUMNS
