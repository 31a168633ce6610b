"""An interval of a second, flow by flow, through the stage of subscribers, and the records that come out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from feed.records import APP_CLASSES
from nf.flows.batch import ACCESS, CORE, FlowBatch
from nf.flows.media import NO_MEDIA, MediaInterval
from nf.subscribers import SubscriberNames, Subscribers

APPS = ["", "tube", "talk", "game", "chat", "site", "file", "live"]
CLASSES = ["unknown", "video", "voice", "gaming", "messaging", "web", "download", "live-video"]
CLASS_OF = np.array([APP_CLASSES.index(c) for c in CLASSES], np.uint8)
TCP, UDP = 6, 17


class Probe:
    """Builds intervals of a second flow by flow and gives them to one `Subscribers`."""

    def __init__(self, **kwargs) -> None:
        self.subscribers, self.now_s, self.class_of = Subscribers(**kwargs), 1_700_000_000.0, CLASS_OF

    def second(self, *flows: dict, action: dict[str, int] | None = None, skip_s: float = 0.0):
        """Return the records of one second by (subscriber, application)."""
        self.now_s += 1 + skip_s
        who = sorted({f.get("who", "anna") for f in flows})
        columns = {name: np.zeros((len(flows), 2), np.uint64) for name in FlowBatch.__dataclass_fields__}
        columns |= {name: column[:, 0] for name, column in columns.items() if name.startswith("dns_")}
        columns["media"] = media_of(flows)
        app, proto = np.zeros(len(flows), np.uint16), np.zeros(len(flows), np.uint8)
        for i, f in enumerate(flows):
            app[i], proto[i] = APPS.index(f["app"]), f.get("proto", TCP)
            for name, (up, down) in f.items() if f else ():
                columns[name][i] = up, down
        actions = np.zeros(len(APPS), np.uint8)
        for name, number in (action or {}).items():
            actions[APPS.index(name)] = number
        columns |= {
            "t_start_s": self.now_s - 1,
            "t_end_s": self.now_s,
            "flow_id": np.arange(len(flows), dtype=np.uint64),
            "session": np.zeros(len(flows), np.uint32),
            "basis": np.ones(len(flows), np.uint8),
            "confidence": np.full(len(flows), 99, np.uint8),
            "app": app,
            "proto": proto,
        }
        out = self.subscribers.update(
            FlowBatch(**columns),
            subject=np.array([who.index(f.get("who", "anna")) for f in flows], np.int64),
            names=SubscriberNames(who, ["pfcp"] * len(who), ["internet"] * len(who)),
            class_of_app=self.class_of,
            app_names=APPS,
            action=actions,
        )
        return {
            (part.columns["subscriber"][i], part.columns["app"][i]): {k: v[i] for k, v in part.columns.items()}
            for part in out
            for i in range(len(part))
        }


def media_of(flows) -> MediaInterval:
    """Return the detail that the kernel keeps of the UDP ones; what a flow does not say is 0."""
    rows = [i for i, f in enumerate(flows) if f.get("proto", TCP) == UDP]
    columns = {
        f.name: np.zeros((len(rows), *getattr(NO_MEDIA, f.name).shape[1:]), getattr(NO_MEDIA, f.name).dtype)
        for f in fields(MediaInterval)
        if f.name != "closed"
    }
    columns["number"] = np.array(rows, np.uint64)
    for at, i in enumerate(rows):
        for name, value in flows[i].get("media", {}).items():
            columns[name][at] = value
    return replace(NO_MEDIA, **columns)


class Flow(dict):
    """A flow: ``app`` and ``proto`` beside columns (uplink, downlink) or (core, access), and those of its *media*."""

    def __init__(self, app: str, *, proto: int = TCP, who: str = "anna", media=(), **columns: tuple[int, int]) -> None:
        super().__init__(columns)
        self.meta = {"app": app, "proto": proto, "who": who, "media": dict(media)}

    def __getitem__(self, name):
        return self.meta[name] if name in self.meta else super().__getitem__(name)

    def get(self, name, default=None):
        return self.meta.get(name, default) if name in self.meta else super().get(name, default)


def bulk(app: str, mbps: float, *, busy_s: float = 1.0, pause_s: float = 0.0, rtt_ms=(10, 25), loss=0.0, **more):
    """Return a TCP download that moves data for *busy_s* at *mbps*, after a pause of *pause_s*."""
    packets = max(int(mbps * 1e6 * busy_s / 8 / 1400), 1)
    pause_us, cut_us = int(pause_s * 1e6), int(min(pause_s, 1.0) * 1e6)
    gap_us = int(busy_s * 1e6 / packets)
    return Flow(
        app,
        octets=(packets * 26, packets * 1400),
        packets=(packets // 2, packets),
        payload_packets=(1, packets),
        retrans=(0, round(loss * packets)),
        rtt_n=(3, 4),
        rtt_sum_us=(3 * rtt_ms[CORE] * 1000, 4 * rtt_ms[ACCESS] * 1000),
        rtt_min_us=(rtt_ms[CORE] * 1000, rtt_ms[ACCESS] * 1000),
        gap_n=(0, packets),
        gap_sum_us=(0, packets * gap_us + cut_us),
        gap_sq_us2=(0, packets * gap_us**2 + cut_us**2),
        gap_max_us=(0, max(pause_us, gap_us)),
        **more,
    )


def talk(app: str, *, rate: int = 50, jitter_ms=(0, 0), lost=(0, 0), rtp: bool = True, **more):
    """Return a UDP stream both ways with *rate* packets a second; jitter and lost packets (uplink, downlink)."""
    gap_us = 1_000_000 // rate

    def both(value) -> tuple[int, int]:
        return (value, value)

    return Flow(
        app,
        proto=UDP,
        octets=both(rate * 100),
        packets=(rate - lost[0], rate - lost[1]),
        payload_packets=(rate - lost[0], rate - lost[1]),
        gap_n=both(rate),
        gap_sum_us=both(rate * gap_us),
        gap_sq_us2=tuple(rate * (gap_us**2 + int(j * 1000) ** 2) for j in jitter_ms),
        gap_max_us=both(gap_us),
        rtp_expected=both(rate if rtp else 0),
        rtp_received=(rate - lost[0], rate - lost[1]) if rtp else (0, 0),
        **more,
    )


def call(lost=(0, 0)):
    """Return a voice call whose ends report that they are 20 ms away, and lose nothing behind the probe."""
    reports = {"rtcp_reports": (1, 1), "rtcp_expected": (50, 50), "rtcp_rtt_us": (20_000, 20_000)}
    return talk("talk", lost=lost, media={**reports, "loss_runs": lost, "rtp_clock": (8000, 8000)})


TUBE, GAME, TALK, FILE = ("anna", "tube"), ("anna", "game"), ("anna", "talk"), ("anna", "file")
