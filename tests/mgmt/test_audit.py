"""The log of who did what."""

import logging

from tests.mgmt.raw import ask, read, wrapped

PRIVATE = (
    '<privacy xmlns="urn:supernetflow:yang:snf-privacy"><key>c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=</key>'
    "<opt-out>001010000000001</opt-out></privacy>"
)


def edit(xml: str) -> str:
    return f"<edit-config><target><candidate/></target>{wrapped(xml)}</edit-config>"


class TestCommits:
    """A commit is logged with its user, its revision and the paths that it changed, without a value."""

    def test_who_and_what(self, bench, policy, caplog):
        with bench.manager() as client:
            client.edit_config(target="candidate", config=wrapped(PRIVATE + policy("for-alice")))
            client.commit()

        said = [r.getMessage() for r in caplog.records if "committed" in r.getMessage()]
        assert said == [
            "session 1 of alice committed revision 1: create /snf-privacy:privacy/key, "
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
        return [r.getMessage() for r in caplog.records if "has ended" in r.getMessage()]

    def test_closed(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.manager() as client:
            client.close_session()
            assert self.ends(bench, caplog) == ["session 1 has ended: closed"]
        assert "session 1 of alice is open" in caplog.text

    def test_dropped(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
        assert self.ends(bench, caplog) == ["session 1 has ended: dropped"]

    def test_without_a_hello(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.channel() as channel:
            read(channel)
        assert self.ends(bench, caplog) == ["session 1 has ended: bad-hello"]

    def test_killed(self, bench, caplog):
        caplog.set_level(logging.INFO)
        with bench.manager() as killer, bench.channel() as channel:
            ask(channel, "<get-config><source><running/></source></get-config>")
            killer.kill_session("2")
            assert self.ends(bench, caplog) == ["session 2 has ended: killed by session 1"]
