"""Generated signalling, written as a capture and read back by a replay."""

from __future__ import annotations

from lab.signalling import Network, Plan, write_pcap


class TestTruth:
    """The generator writes down exactly what it played."""

    def test_the_capture_read_back_gives_the_sessions_of_the_truth(self, tmp_path, replay):
        network = Network(Plan(sessions=50, rate_hz=100, seconds=3, fourth=True))
        number = write_pcap(tmp_path / "signalling.pcap", network.mirrored(), 1_700_000_000)
        assert number > 500
        rows = replay(tmp_path / "signalling.pcap").sessions
        got = {r["imsi"]: r for r in rows if not r["ended_by"]}
        assert got.keys() == network.live.keys()
        for imsi, s in network.live.items():
            assert got[imsi]["ue_ipv4"] == s.ue
            assert {f"0x{teid:08x}@{address}" for address, teid in s.tunnels} <= set(got[imsi]["teids"].split())
