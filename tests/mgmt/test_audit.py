"""The log of who did what, from where and with which key."""

import base64
import hashlib
import logging
import re

from mgmt.netconf.audit import safe
from tests.mgmt.raw import ask, read, wrapped

PRIVATE = (
    '<privacy xmlns="urn:supernetflow:yang:snf-privacy"><key>c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=</key>'
    "<opt-out>001010000000001</opt-out></privacy>"
)


def edit(xml: str) -> str:
    return f"<edit-config><target><candidate/></target>{wrapped(xml)}</edit-config>"


def fingerprint(key) -> str:
    """Return the name of a key as OpenSSH prints it: SHA-256 of the blob on the wire, in base64 without padding."""
    blob = base64.b64decode(key.with_suffix(".pub").read_text().split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def without_ports(text: str) -> str:
    return re.sub(r"port \d+", "port N", text)


def alice(bench) -> str:
    return f"alice from 127.0.0.1 port N with {fingerprint(bench.key)}"


class TestCommits:
    """A commit is logged with its user, its revision and the paths that it changed, without a value."""

    def test_who_and_what(self, bench, policy, caplog):
        with bench.manager() as client:
            client.edit_config(target="candidate", config=wrapped(PRIVATE + policy("for-alice")))
            client.commit()

        said = [without_ports(r.getMessage()) for r in caplog.records if "committed" in r.getMessage()]
        assert said == [
            f"session 1 of {alice(bench)} committed revision 1: create /snf-privacy:privacy/key, "
            "create /snf-privacy:privacy/opt-out, create /snf-policies:policies/policy"
        ]

    def test_a_commit_that_changes_nothing_is_none(self, bench, caplog):
        with bench.manager() as client:
            client.commit()

        assert "committed" not in caplog.text


class TestSessions:
    """Each session is logged with how it began and ended."""

    def ends(self, bench, caplog):
        assert bench.settles(lambda: "has ended" in caplog.text)
        return [without_ports(r.getMessage()) for r in caplog.records if "has ended" in r.getMessage()]

    def test_closed(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.manager() as client:
            client.close_session()
            assert self.ends(bench, caplog) == [f"session 1 of {alice(bench)} has ended: closed"]
        assert f"session 1 of {alice(bench)} is open" in without_ports(caplog.text)
        assert f'login of "alice" from 127.0.0.1 port N with {fingerprint(bench.key)}' in without_ports(caplog.text)

    def test_dropped(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
        assert self.ends(bench, caplog) == [f"session 1 of {alice(bench)} has ended: dropped"]

    def test_without_a_hello(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.channel() as channel:
            read(channel)
        assert self.ends(bench, caplog) == [f"session 1 of {alice(bench)} has ended: bad-hello"]

    def test_killed(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.manager() as killer, bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
            killer.kill_session("2")
            ended = f"session 2 of {alice(bench)} has ended: killed by session 1 of {alice(bench)}"
            assert self.ends(bench, caplog) == [ended]


class TestNames:
    """A name that somebody sends is in a log as one short word that does nothing to a terminal."""

    def test_a_usual_name_is_itself(self):
        assert safe("alice@noc.example") == '"alice@noc.example"'

    def test_a_name_that_is_none(self):
        assert safe('a\x1b[2J\n"\\\u202e\x00') == '"a?[2J?????"'

    def test_a_long_one_is_cut(self):
        assert safe("a" * 10_000) == f'"{"a" * 64}"...'
