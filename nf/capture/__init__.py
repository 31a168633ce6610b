"""Captures: packets with their times out of pcap and pcapng files, packed or not, as the kernel program needs them.

    open_capture(path)   one file; iterate it for (t_ns, frame, wire_length, link)
    merged(paths)        several files, by time, for (index, t_ns, frame, link, bytes on the wire)
    to_ethernet          any link type that is read, as an Ethernet frame

It is read here and not by a library because replay needs three things together that none of them
gives: more than 500,000 packets a second (scapy: 30,000), every interface of a pcapng file with its
own link type and clock (dpkt reads the first only), and a file that ends in the middle of a record,
as every capture of a process that was killed does, read to its last whole packet.

May touch: the files it is given, for reading, and a temporary file for what an archive holds. Fails with
`nf.errors.BadCapture` when a file cannot be read at all; a later fault ends the file there and is counted in ``notes``.

Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; link types: https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from nf.capture.links import SNAP, to_ethernet
from nf.capture.merge import Merged, merged
from nf.capture.reader import Capture, Packet, open_capture

__all__ = ["SNAP", "Capture", "Merged", "Packet", "merged", "open_capture", "to_ethernet"]
