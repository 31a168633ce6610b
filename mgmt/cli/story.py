"""Sentences that end a replay: counters in, words out. The counters themselves are for who asks (``--counters``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["sentences"]

_PROTOCOLS = {
    "pfcp": "PFCP",
    "gtpv1": "GTPv1-C",
    "gtpv2": "GTPv2-C",
    "radius": "RADIUS",
    "ngap": "NGAP",
    "sctp": "SCTP",
}

# By counter of the kernel program (bpf/abi_counters.h): what a person wants to know of it, for one and for several.
_TOLD: Mapping[str, tuple[str, str]] = {
    "sni_named": ("flow said its server's name in its ClientHello", "flows said their server's name in a ClientHello"),
    "answer_used": ("flow was named by a DNS answer", "flows were named by a DNS answer"),
    "copy": (
        "packet was a copy of one before, on another port or in another tunnel, and is counted once",
        "packets were copies of ones before, on another port or in another tunnel, and are counted once",
    ),
    "tcp_midway": (
        "TCP flow came without its SYN: the connection began before the capture, or had ended",
        "TCP flows came without their SYN: the connections began before the capture, or had ended",
    ),
    "tunnel_unknown": (
        "flow was in a tunnel of no known session: no signalling here names its subscriber",
        "flows were in tunnels of no known session: no signalling here names their subscribers",
    ),
    "not_gtpu": ("packet on N3 was no GTP-U", "packets on N3 were no GTP-U"),
    "not_ip": ("frame was neither IPv4 nor IPv6", "frames were neither IPv4 nor IPv6"),
    "psc_measured": (
        "packet carried delays or sequence numbers of QoS monitoring",
        "packets carried delays or sequence numbers of QoS monitoring",
    ),
    "transit_measured": ("packet was timed through the UPF", "packets were timed through the UPF"),
}
_OF_PATHS = (
    *("gtpu_echo_request", "gtpu_echo_response", "gtpu_error_indication", "gtpu_ext_notification"),
    *("gtpu_tunnel_status", "gtpu_end_marker", "gtpu_other"),
)
_WORKINGS = frozenset(  # how the program came to its results: no news
    {"frames", "octets", "gtpu_gpdu", "counted", "counted_octets", "flow_new", "signalling", "dropped", "passed"}
    | {"handed_off", "handed_off_octets", "sni_unlisted", "sni_handed_off", "dns_read", "dns_learned", "dns_handed_off"}
    | {"chunks", "looked_through", "flow_reopened", "outer_fragment_known", "unflowed_octets", "detail_evicted"}
)


def sentences(
    counters: Mapping[str, int],
    texts: Mapping[str, str],
    outside: Mapping[str, int],
    outside_texts: Mapping[str, str],
    skipped: Mapping[str, int],
    signalling: Mapping[str, int],
) -> Iterator[str]:
    """Yield a sentence for each thing of note, with its number.

    *texts* and *outside_texts* say in words what the counters of the program and of what is nobody's are.
    """
    if counted := counters.get("counted", 0):
        tunnels = counters.get("gtpu_gpdu", 0)
        there = f", {tunnels:,} of all in tunnels" if tunnels else ""
        yield f"{_of(counted, 'packet')} counted for a flow{there}."
    yield from _signalling(signalling)
    if paths := sum(counters.get(name, 0) for name in _OF_PATHS):
        yield f"{_of(paths, 'message')} of GTP-U paths (echo, end marker and the like), which carry no user data."
    for name, count in counters.items():
        if not count or name in _WORKINGS or name in _OF_PATHS:
            continue
        if name in _TOLD:
            yield f"{count:,} {_TOLD[name][count != 1]}."
        else:
            yield _plainly(texts.get(name, name), count)
    for name, text in outside_texts.items():
        if outside.get(name):
            yield f"{outside[name]:,} {text}."
    for reason, count in skipped.items():
        yield f"{reason}: {_times(count)}."  # it may begin with the name of a file


def _signalling(counters: Mapping[str, int]) -> Iterator[str]:
    read = {p: counters.get(f"{p}_messages", 0) for p in _PROTOCOLS}
    if told := [f"{count:,} of {_PROTOCOLS[p]}" for p, count in read.items() if count]:
        yield f"Messages of signalling that were read: {', '.join(told)}."
    for name, count in counters.items():
        protocol, _, rest = name.partition("_")
        if count and rest != "messages":
            known = f"{_PROTOCOLS[protocol]}: {rest}" if protocol in _PROTOCOLS else f"signalling: {name}"
            yield _plainly(known.replace("_", " "), count)


def _of(count: int, what: str) -> str:
    return f"{count:,} {what} was" if count == 1 else f"{count:,} {what}s were"


def _plainly(text: str, count: int) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}: {_times(count)}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
