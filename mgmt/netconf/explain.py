"""The operation ``explain-flow`` of the module snf-explain: its parameters, its request and its reply, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lxml import etree

from nf.naming.explain import Ground, Question

__all__ = ["NAMESPACE", "PARAMETERS", "PROTOCOLS", "question_of", "read_reply", "reply_of", "request"]

NAMESPACE = "urn:supernetflow:yang:snf-explain"
PARAMETERS = ("protocol", "address", "port", "other-address", "other-port")
PROTOCOLS = {"tcp": 6, "udp": 17}


def question_of(words: Mapping[str, str]) -> Question:
    """Return the flow that parameters of the operation name. Raises ValueError with the name of a bad one."""
    ports = {}
    for name in ("port", "other-port"):
        text = words[name]
        if not text.isascii() or not text.isdigit() or int(text) > 0xFFFF:
            raise ValueError(name)
        ports[name] = int(text)
    if words["protocol"] not in PROTOCOLS:
        raise ValueError("protocol")
    question = Question(
        PROTOCOLS[words["protocol"]], words["address"], ports["port"], words["other-address"], ports["other-port"]
    )
    for name in ("address", "other-address"):
        try:
            Question(0, words[name], 0, words[name], 0).ends()
        except ValueError:
            raise ValueError(name) from None
    return question


def request(flow: Mapping[str, str]) -> etree._Element:
    """Return the element of the operation."""
    operation = etree.Element(f"{{{NAMESPACE}}}explain-flow", nsmap={None: NAMESPACE})
    for name in PARAMETERS:
        etree.SubElement(operation, f"{{{NAMESPACE}}}{name}").text = flow[name]
    return operation


def reply_of(flows: Sequence[Sequence[Ground]]) -> list[etree._Element]:
    """Return the content of the reply."""
    out = []
    for grounds in flows:
        flow = etree.Element(f"{{{NAMESPACE}}}flow", nsmap={None: NAMESPACE})
        for ground in grounds:
            entry = etree.SubElement(flow, f"{{{NAMESPACE}}}ground")
            values = {"name": ground.ground, "finding": ground.finding, "application": ground.application,
                      "confidence": str(ground.confidence), "decides": str(ground.decides).lower()}  # fmt: skip
            for name, value in values.items():
                if value:
                    etree.SubElement(entry, f"{{{NAMESPACE}}}{name}").text = value
        out.append(flow)
    return out


def read_reply(reply: etree._Element) -> list[list[Ground]]:
    """Return the content of a reply as values."""

    def text(entry: etree._Element, name: str) -> str:
        return entry.findtext(f"{{{NAMESPACE}}}{name}") or ""

    return [
        [
            Ground(text(e, "name"), text(e, "finding"), text(e, "application"), int(text(e, "confidence") or 0),
                   text(e, "decides") == "true")
            for e in flow.iter(f"{{{NAMESPACE}}}ground")
        ]
        for flow in reply.iter(f"{{{NAMESPACE}}}flow")
    ]  # fmt: skip
