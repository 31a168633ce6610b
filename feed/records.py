"""The published record: one row per (subscriber, application, interval), as columns.

This schema is a contract with everyone who subscribes (``schema`` = "snf.qoe.v1"): columns are
added, never renamed or removed. A batch has the columns of its class (`columns_of`). The names
follow TS 29.564 (user data usage, QoS monitoring) and
TS 29.517 (mos) with the unit as suffix. Missing is NaN in float columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALARM_COLUMNS",
    "APP_CLASSES",
    "CHANGE_COLUMNS",
    "DELAY_COLUMNS",
    "DELAY_DISTRIBUTION_COLUMNS",
    "DELAY_MEASURES",
    "ESTIMATES",
    "FLOW_COLUMNS",
    "HEALTH_COLUMNS",
    "PURGE_COLUMNS",
    "RECORD_COLUMNS",
    "SCHEMA",
    "SIGN_COLUMNS",
    "SNAPSHOT_COLUMNS",
    "SPARSE_COLUMNS",
    "SUBSCRIBER_COLUMNS",
    "Column",
    "Columns",
    "RecordBatch",
    "columns_of",
]

SCHEMA = "snf.qoe.v1"

APP_CLASSES = (
    "video",
    "live-video",
    "conferencing",
    "voice",
    "gaming",
    "social",
    "messaging",
    "web",
    "download",
    "music",
    "navigation",
    "vpn",
    "unknown",
)
"""Application classes; each has a topic ``qoe.v1/<nf>/<class>/`` and a file under `nf.qoe`."""

Columns = Mapping[str, "NDArray[Any] | list[str]"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: numpy type ("str" for text), unit, and meaning."""

    dtype: str
    unit: str
    what: str


RECORD_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "end of the interval, since the epoch"),
    "interval_ms": Column("u4", "ms", "length of the interval"),
    "subscriber": Column("str", "", "pseudonym, or teid:ADDRESS:0xTEID or ue:INSTANCE:ADDRESS while unknown"),
    "identity_source": Column("str", "", "pfcp, gtp-c, radius, ngap, netconf, or none"),
    "dnn": Column("str", "", "data network name, empty when not said"),
    "app": Column("str", "", "application, empty when not named"),
    "app_basis": Column(
        "str",
        "",
        "ground of the name, the strongest of the flows: sni, http_host, dns_answer, learned, address, behaviour, "
        "model, contradicted, none",
    ),
    "flows": Column("u4", "", "flows with traffic in the interval"),
    "ul_bytes": Column("u8", "byte", "inner IP bytes from the UE"),
    "dl_bytes": Column("u8", "byte", "inner IP bytes to the UE"),
    "ul_packets": Column("u4", "packet", ""),
    "dl_packets": Column("u4", "packet", ""),
    "ul_bps": Column("f4", "bit/s", "mean over the interval"),
    "dl_bps": Column("f4", "bit/s", "mean over the interval"),
    "rtt_access_ms": Column("f4", "ms", "probe to UE and back: N3, radio, device; mean of the samples"),
    "rtt_core_ms": Column("f4", "ms", "probe to server and back; mean of the samples"),
    "rtt_min_access_ms": Column("f4", "ms", ""),
    "rtt_min_core_ms": Column("f4", "ms", ""),
    "rtt_samples": Column("u4", "", "both sides together"),
    "loss_ul": Column("f4", "ratio", "retransmitted TCP segments, or missing RTP packets, over those sent by the UE"),
    "loss_dl": Column("f4", "ratio", "the same towards the UE"),
    "jitter_dl_ms": Column("f4", "ms", "standard deviation of the downlink inter-arrival gaps (real-time classes)"),
    "gap_max_dl_ms": Column("f4", "ms", "longest downlink gap between packets of one flow"),
    "ran_ul_ms": Column("f4", "ms", "radio network and radio, uplink, as the gNB reports it (TS 38.415, 5.5.3.16)"),
    "ran_dl_ms": Column("f4", "ms", "the same downlink"),
    "n3_rtt_ms": Column("f4", "ms", "probe to gNB and back, by the time stamps of QoS monitoring"),
    "upf_ul_ms": Column("f4", "ms", "from N3 to N6 through the UPF"),
    "upf_dl_ms": Column("f4", "ms", "from N6 to N3"),
    "mos": Column("f4", "1..5", "score by class; formula and source in docs/qoe.md"),
    "suspect": Column(
        "str",
        "",
        "where a bad score was lost: access, n3, upf, core, loss (on both sides), server, device, app, unknown; "
        "empty when it is good",
    ),
    "app_confidence": Column("u1", "percent", "how sure the application is, mean over the bytes; 0 when not named"),
    "dns_queries": Column("f4", "", "DNS queries over UDP; of the whole subscriber, as the next five"),
    "dns_ms": Column("f4", "ms", "time to the answer, mean over queries that were sent once"),
    "dns_failed": Column("f4", "ratio", "answers with an error, names that do not exist excepted, over all answers"),
    "dns_retried": Column("f4", "ratio", "queries sent again over all queries"),
    "vpn_share": Column("f4", "ratio", "bytes in tunnels to elsewhere over all bytes; missing when there are none"),
    "ttls": Column(
        "f4",
        "",
        "distinct TTLs of what the UE began in ten minutes, when several: a device may be behind it",
    ),
    "rtt_high_access_ms": Column("f4", "ms", "largest samples of the flows, mean by their number: beside the minimum"),
    "rtt_high_core_ms": Column("f4", "ms", "the same of the core side"),
    "confidence": Column("f4", "0..1", "how sure the estimates behind the score are"),
    "unmeasured": Column("str", "", "why there is no score, where there is none"),
    "model": Column("str", "", "model of the score, and its version; * behind it: under other constants (profiles)"),
    "video_height": Column("f4", "pixel", "level of the picture: 144, 240, 360, 480, 720, 1080 and more"),
    "media_bps": Column("f4", "bit/s", "of the content, over a second of playing"),
    "startup_s": Column("f4", "s", "first request to first picture"),
    "stalled_s": Column("f4", "s", "of this interval in which the picture stood still, its buffer empty"),
    "stalls": Column("f4", "", "begun in this interval"),
    "stall_ratio": Column("f4", "ratio", "stalled over stalled and played, of the session"),
    "buffer_s": Column("f4", "s", "content that the player holds"),
    "switches": Column("f4", "", "changes of level in the session"),
    "state": Column("str", "", "of the player: starting, playing, stalled, paused, complete, seeking"),
    "mos_session": Column("f4", "1..5", "score over the whole session"),
    "fps": Column("f4", "1/s", "frames that arrived for the UE"),
    "freezes": Column("f4", "", "begun in this interval"),
    "frozen_s": Column("f4", "s", "of this interval in which the picture, or the talk, stood still"),
    "video_bps": Column("f4", "bit/s", "of the frames"),
    "frame_jitter_ms": Column("f4", "ms", "standard deviation of the distances of frames"),
    "codec": Column("str", "", "of the voice, by payload type and size"),
    "loss_burst": Column("f4", "ratio", "mean run of lost packets over that of random loss (BurstR, G.107)"),
    "beyond_loss": Column("f4", "ratio", "packets lost between the probe and the UE, as its RTCP reports say"),
    "lag_ms": Column("f4", "ms", "UE to server and back"),
    "lag_jitter_ms": Column("f4", "ms", "of the game's packets"),
    "tick_ms": Column("f4", "ms", "median distance of the server's packets"),
    "tick_loss": Column("f4", "ratio", "ticks that did not come"),
    "spikes": Column("f4", "", "gaps of more than three ticks and 100 ms"),
    "spike_ms": Column("f4", "ms", "their length together"),
    "page_s": Column("f4", "s", "time of the page that ended, or of the one that is loading so far"),
    "pages": Column("f4", "", "pages that ended in this interval"),
    "answer_ms": Column("f4", "ms", "message to first answer"),
    "speed_bps": Column("f4", "bit/s", "of the transfer while it moved"),
    "limit": Column("str", "", "of the speed: network, receiver, server, application"),
    "suspect_by": Column(
        "str",
        "",
        "measure that convicted: delay, variation, loss, jitter, silence, spikes, radio delay, wait, level, frames, "
        "echo, neighbours",
    ),
    "suspect_value": Column("f4", "", "its value: ms, s of silence, ratio of loss, pixel of a level, frames a second"),
    "gnb": Column("str", "", "far end of the tunnel on the access side: gNB, eNB or SGW; empty when not known"),
    "slice": Column("str", "", "S-NSSAI: SST, or SST-SD with six hexadecimal digits; empty when not said"),
    "suspect_confidence": Column("f4", "0..1", "how sure the evidence of an echo or of neighbours is, for n3"),
    "rat": Column("str", "", "radio access technology by its name in TS 29.571 (RatType): NR, EUTRA, and others"),
    "tai": Column("str", "", "tracking area: MCC-MNC-TAC, the TAC hexadecimal; empty, as the other two, when not said"),
    "cell": Column("str", "", "cell that signalling named last: MCC-MNC-ID, the identity hexadecimal"),
}

FLOW_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "end of the interval, since the epoch"),
    "interval_ms": Column("u4", "ms", "length of the interval"),
    "proto": Column("u1", "", "IP protocol"),
    "ue": Column("str", "", "UE address and port"),
    "remote": Column("str", "", "server address and port"),
    "app": Column("str", "", ""),
    "app_basis": Column("str", "", ""),
    "name": Column("str", "", "SNI, HTTP host or DNS name, cut to the registrable domain"),
    "qfi": Column("u1", "", "QoS flow identifier, 0 when not seen"),
    "ul_bytes": Column("u8", "byte", ""),
    "dl_bytes": Column("u8", "byte", ""),
    "ul_packets": Column("u4", "packet", ""),
    "dl_packets": Column("u4", "packet", ""),
    "retrans_ul": Column("u4", "", ""),
    "retrans_dl": Column("u4", "", ""),
    "rtt_access_ms": Column("f4", "ms", ""),
    "rtt_core_ms": Column("f4", "ms", ""),
    "gap_max_dl_ms": Column("f4", "ms", ""),
    "ran_ul_ms": Column("f4", "ms", "of the QoS flow: as in the records"),
    "ran_dl_ms": Column("f4", "ms", ""),
    "n3_rtt_ms": Column("f4", "ms", ""),
    "upf_ul_ms": Column("f4", "ms", "of the whole session"),
    "upf_dl_ms": Column("f4", "ms", ""),
    "peak_dl_bps": Column("f4", "bit/s", "over the fullest 100 ms; media applications, else 0"),
    "frames_dl": Column("u4", "", "video frames that ended, by packet lengths; conferencing and gaming"),
    "frozen_dl_ms": Column("u4", "ms", "distances of frames far above their mean"),
    "chunks": Column("u4", "", "requests whose answer was complete; media applications"),
    "chunk_bytes": Column("u8", "byte", "of these answers"),
    "app_confidence": Column("u1", "percent", ""),
}
"""The detail of a followed subscriber: one row per flow with traffic, schema "snf.flow.v1"."""

CHANGE_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "time of the change, since the epoch; it may be long ago, or yet to come"),
    "text": Column("str", "", "what was changed, in the operator's words"),
    "who": Column("str", "", "user who marked it"),
    "app": Column("str", "", "application that it was made for; empty, as in the next three: for all"),
    "gnb": Column("str", "", ""),
    "dnn": Column("str", "", ""),
    "slice": Column("str", "", ""),
}
"""A mark of a change, schema "snf.change.v1": one row a message."""

HEALTH_COLUMNS: Mapping[str, Column] = {
    "topic": Column("str", "", "a topic of this publisher, those of followed subscribers excepted"),
    "next_seq": Column("u8", "", "sequence number that the next message of the topic will have"),
    "uptime_ms": Column("u8", "ms", "since the publisher started; this and the following are equal in all rows"),
    "inspected_bytes": Column("u8", "byte", "bytes of the frames that the data plane has read"),
    "unflowed_bytes": Column(
        "u8", "byte", "inner IP bytes in no flow: a full table, a limit, two IPv6 flows with one key"
    ),
    "unread_bytes": Column(
        "u8", "byte", "inner IP bytes of flows that nobody could read before they were gone: in no record"
    ),
    "outside_bytes": Column(
        "u8", "byte", "inner IP bytes outside of tunnels and of no session: no subscriber's, in no record"
    ),
    "exported_bytes": Column("u8", "byte", "bytes of all frames published, each message once"),
    "records": Column("u8", "", "records published"),
    "dropped_messages": Column("u8", "", "messages lost before ZeroMQ: the queue was full"),
    "dropped_rows": Column("u8", "", "their rows"),
    "subscriptions": Column("u8", "", "topics and prefixes that somebody subscribes to"),
    "followed": Column("u8", "", "subscribers that somebody follows"),
    "sessions": Column("u8", "", "sessions that are known"),
    "partial_sessions": Column("u8", "", "sessions of which only tunnels are known: they began before the function"),
    "redirect_lost": Column("u8", "", "frames that were redirected, to a pair or a monitor port, and lost behind it"),
    "clock_steps": Column("u8", "", "steps of the clock on the wall since the publisher started"),
    "clock_step_ms": Column("i8", "ms", "length of the last one; forward is positive"),
    "intervals": Column("u8", "", "intervals that ended since the publisher started, with traffic or without"),
    "next_batch_ms": Column("u8", "ms", "until the next batch leaves, at the latest; 0 when no records wait"),
    "not_read": Column("str", "", "what ports do not read, its share of their frames and what to set; mostly empty"),
    "dropped_frames": Column("u8", "", "frames that devices received and dropped while ports were on them"),
    "dropped_signalling": Column("u8", "", "frames of signalling that came faster than they were read"),
    "ring_lost": Column("u8", "", "payloads, request-answer pairs and ends of flows that found their ring full"),
    "flows": Column("u8", "", "flows in the table"),
    "flow_room": Column("u8", "", "places for flows"),
    "evicted_flows": Column("u8", "", "flows that left a full part of the table, the longest silent first"),
    "details": Column("u8", "", "details of media flows; one stays until another flow needs its place"),
    "detail_room": Column("u8", "", "places for details"),
    "undetailed_packets": Column("u8", "", "packets of media flows that found no place for a detail"),
    "session_room": Column("u8", "", "sessions that may be known"),
    "sessions_pfcp": Column("u8", "", "sessions by the source of the subscriber; these five"),
    "sessions_gtp_c": Column("u8", "", ""),
    "sessions_radius": Column("u8", "", ""),
    "sessions_ngap": Column("u8", "", ""),
    "sessions_netconf": Column("u8", "", ""),
    "recorded_bytes": Column("u8", "byte", "inner IP bytes of all records"),
    "unowned_bytes": Column("u8", "byte", "those of them whose subscriber nobody told: identity_source is none"),
}
"""The heartbeat, schema "snf.health.v1": one row per topic, each second."""

PURGE_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "time since the epoch until when all records of the subscriber are to be erased"),
    "subscriber": Column("str", "", "a name that he had in records: one row for each key that the function has"),
    "epoch": Column("u4", "", "number of the key that gives this name"),
    "why": Column("str", "", "purge, opt-out"),
}
"""Subscribers who are to be forgotten, schema "snf.purge.v1"."""

ALARM_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "time since the epoch when it was raised or cleared"),
    "state": Column("str", "", "raised, cleared"),
    "subscriber": Column("str", "", "pseudonym; empty in the row of those beyond the bound, as the next five texts"),
    "app": Column("str", "", "application, empty when not named"),
    "app_class": Column("str", "", "application class"),
    "gnb": Column("str", "", "far end of the tunnel on the access side, empty when not known"),
    "slice": Column("str", "", "S-NSSAI, empty when not said"),
    "mos": Column("f4", "1..5", "mean of the scores that raised it, or cleared it; missing: cleared without a score"),
    "suspect": Column("str", "", "where most of the bad scores were lost, as in the records; empty when not known"),
    "suspect_by": Column("str", "", "measure that convicted last"),
    "suspect_value": Column("f4", "", "its value"),
    "since_ms": Column("u8", "ms", "begin of the degradation, since the epoch; the same when raised and when cleared"),
    "threshold": Column("f4", "1..5", "score below which it is raised, or from which on it is cleared"),
    "others": Column("u4", "", "subscribers and applications beyond the bound; 0 but in the row that is about them"),
}
"""Degradations of single subscribers, schema "snf.alarm.v1": a row when one is raised, and one when it is cleared."""

SNAPSHOT_COLUMNS: Mapping[str, Column] = {
    "topic": Column("str", "", "a topic that was asked for and may be read"),
    "next_seq": Column("u8", "", "sequence number of its first message that the snapshot does not know"),
}
"""The end of a snapshot, schema "snf.snapshot.v1"."""

DELAY_COLUMNS = ("ran_ul_ms", "ran_dl_ms", "n3_rtt_ms", "upf_ul_ms", "upf_dl_ms")
DELAY_MEASURES = (*DELAY_COLUMNS, "n3_echo_ms")
"""What delays are counted of: those of the records, and of N3 as GTP-U echoes to the gNB time it (TS 29.281, 7.2)."""

DELAY_DISTRIBUTION_COLUMNS: Mapping[str, Column] = {
    "t_ms": Column("u8", "ms", "end of the span in which they were counted, since the epoch"),
    "interval_ms": Column("u4", "ms", "its length: about a minute"),
    "gnb": Column("str", "", "as in the records; empty when not known, and of the places that found no room"),
    "slice": Column("str", "", "as in the records; empty for an echo, which is of no slice"),
    "measure": Column("str", "", "one of DELAY_MEASURES"),
    "bucket": Column("i4", "", "number of the bucket, as feed.buckets counts delays: of whole microseconds"),
    "n": Column("u4", "", "delays in it; a bucket without any has no row"),
}
"""Counts of single delays by place and bucket, schema "snf.delay.v1"."""

SIGN_COLUMNS = ("dns_queries", "dns_ms", "dns_failed", "dns_retried", "vpn_share", "ttls")
SUBSCRIBER_COLUMNS = (*DELAY_COLUMNS, *SIGN_COLUMNS)
"""Columns of the whole subscriber, in each of its rows. Few sites can measure the delays, and in many intervals there
are no signs to tell."""

_SCORED = ("confidence", "unmeasured", "model")
_PLAYED = (
    *("video_height", "media_bps", "startup_s", "stalled_s", "stalls", "stall_ratio", "buffer_s", "switches"),
    *("state", "mos_session"),
)
_TALKED = ("fps", "freezes", "frozen_s", "video_bps", "frame_jitter_ms", "codec", "loss_burst", "beyond_loss")
_LOADED = ("page_s", "pages")
ESTIMATES: Mapping[str, tuple[str, ...]] = {
    "video": (*_SCORED, *_PLAYED),
    "live-video": (*_SCORED, *_PLAYED),
    "conferencing": (*_SCORED, *_TALKED),
    "voice": (*_SCORED, *_TALKED),
    "gaming": (
        *_SCORED,
        *("lag_ms", "lag_jitter_ms", "tick_ms", "tick_loss", "spikes", "spike_ms", "fps", "video_height"),
    ),
    "social": (*_SCORED, *_LOADED),
    "messaging": (*_SCORED, "answer_ms"),
    "web": (*_SCORED, *_LOADED),
    "download": (*_SCORED, "speed_bps", "limit"),
    "music": (*_SCORED, "stalled_s", "buffer_s", "state"),
    "navigation": (*_SCORED, *_LOADED),
    "vpn": _SCORED,
    "unknown": _SCORED,
}
"""Columns of what happened, by the class whose records have them; `docs/qoe.md` says how each is estimated."""

SPARSE_COLUMNS = (
    *SUBSCRIBER_COLUMNS,
    *("rtt_high_access_ms", "rtt_high_core_ms", "suspect_by", "suspect_value"),
    *dict.fromkeys(name for names in ESTIMATES.values() for name in names),
    *("gnb", "slice", "suspect_confidence", "rat", "tai", "cell"),
)
"""A message in which one of these is missing, or empty text, in every row leaves it out."""

_OF_SOME = frozenset(name for names in ESTIMATES.values() for name in names)
_OF_CLASS = {
    app_class: {name: RECORD_COLUMNS[name] for name in RECORD_COLUMNS if name not in _OF_SOME or name in estimates}
    for app_class, estimates in ESTIMATES.items()
}


def columns_of(app_class: str) -> Mapping[str, Column]:
    """Return the columns of the records of a class, in their order."""
    return _OF_CLASS[app_class]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Rows of one application class; every array or list has the same length."""

    app_class: str
    t_start_s: float
    t_end_s: float
    columns: Columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def select(self, rows: NDArray[np.bool_]) -> RecordBatch:
        """Return the rows where *rows* is true."""
        picked: dict[str, NDArray[Any] | list[str]] = {
            name: [v for v, keep in zip(col, rows, strict=True) if keep] if isinstance(col, list) else col[rows]
            for name, col in self.columns.items()
        }
        return RecordBatch(self.app_class, self.t_start_s, self.t_end_s, picked)
