/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What is counted of the packets of a port, and what each counter means in words. */
#ifndef SNF_ABI_COUNTERS_H
#define SNF_ABI_COUNTERS_H

/* Every packet meets `frames`; each other line is one reason or fact. One copy a port and CPU. */
#define SNF_COUNTERS(X)                                                                                                \
	X(frames, "frames seen")                                                                                       \
	X(octets, "bytes of these frames")                                                                             \
	X(l2_truncated, "frame ends inside its Ethernet or VLAN header")                                               \
	X(vlan_too_deep, "more than three VLAN tags: not read")                                                        \
	X(not_ip, "neither IPv4 nor IPv6")                                                                             \
	X(sgt_unread, "group tag of Cisco TrustSec: not read")                                                         \
	X(mpls_unread, "MPLS, or more than three labels of it: not read")                                              \
	X(vxlan_unread, "VXLAN: not read")                                                                             \
	X(gre_unread, "GRE, or a kind of it that nobody mirrors by: not read")                                         \
	X(erspan_unread, "ERSPAN: not read")                                                                           \
	X(ethernet_unread, "Ethernet frame in GTP-U: not read")                                                        \
	X(macsec_unread, "encrypted by MACsec: not read")                                                              \
	X(pbb_unread, "provider backbone bridging: not read")                                                          \
	X(looked_through, "headers of a mirror, or of an Ethernet PDU session, that were read through")                \
	X(ip_truncated, "packet ends inside its outer IP header")                                                      \
	X(ip_malformed, "outer IP version, header or total length is wrong")                                           \
	X(ip_ext_too_long, "more than six IPv6 extension headers, or they reach past byte 1023 of the frame")          \
	X(l4_truncated, "packet ends inside its transport header")                                                     \
	X(outer_fragment, "later fragment of an outer packet, no ports")                                               \
	X(outer_fragment_known, "of these: of a tunnel packet whose first fragment was counted with its whole length") \
	X(not_gtpu, "no UDP datagram to port 2152 on an N3 port")                                                      \
	X(gtpu_truncated, "datagram ends inside its GTP-U header")                                                     \
	X(gtpu_version, "to port 2152 but not GTPv1 with protocol type GTP")                                           \
	X(gtpu_length, "GTP-U length field is larger than its datagram")                                               \
	X(gtpu_ext_malformed, "extension header of length zero or past the end")                                       \
	X(gtpu_ext_too_long, "more than eight extension headers, or they reach past byte 1023 of the frame")           \
	X(gtpu_echo_request, "message 1")                                                                              \
	X(gtpu_echo_response, "message 2")                                                                             \
	X(gtpu_error_indication, "message 26")                                                                         \
	X(gtpu_ext_notification, "message 31, supported extension headers")                                            \
	X(gtpu_tunnel_status, "message 253")                                                                           \
	X(gtpu_end_marker, "message 254")                                                                              \
	X(gtpu_gpdu, "message 255, user data")                                                                         \
	X(gtpu_other, "any other message type")                                                                        \
	X(inner_not_ip, "user data is neither IPv4 nor IPv6")                                                          \
	X(inner_truncated, "user data ends inside its IP header")                                                      \
	X(inner_malformed, "inner IP version, header or total length is wrong")                                        \
	X(inner_ext_too_long, "more than six inner IPv6 extension headers, or past byte 1023 of the frame")            \
	X(inner_l4_truncated, "user data ends inside its transport header")                                            \
	X(inner_fragment, "later fragment of an inner packet")                                                         \
	X(counted, "packets counted for a flow")                                                                       \
	X(counted_octets, "inner IP bytes of these packets")                                                           \
	X(copy, "packets already counted on another port, or in another tunnel")                                       \
	X(flow_new, "flows begun")                                                                                     \
	X(flow_full, "packets without a flow: the table took no entry")                                                \
	X(flow_evicted,                                                                                                \
	  "flows that left a full part of the table, the longest silent first: none of their counts is lost")          \
	X(flow_collision, "packets whose folded IPv6 key belongs to another flow")                                     \
	X(flow_restarted, "flows begun again because their tunnel has a new owner")                                    \
	X(tcp_midway, "of flow_new: TCP without a SYN, so the connection began before, or had ended")                  \
	X(flow_reopened, "flows begun again because a SYN opened another connection between their ends")               \
	X(ended_ring_full, "flows that ended in their place in the table and found the ring full")                     \
	X(tunnel_unknown, "flows begun or moved on a tunnel without a session")                                        \
	X(unknown_limited, "packets without a session that might have begun a flow or moved one, but for the limit")   \
	X(ue_mismatch, "packets in a tunnel of another UE: signalling is late, or the UE routes a network")            \
	X(unflowed, "packets without a flow, for one of the reasons above: they are in no record")                     \
	X(unflowed_octets, "inner IP bytes of these packets")                                                          \
	X(handed_off, "payload packets given to user space")                                                           \
	X(handed_off_octets, "bytes of these records")                                                                 \
	X(sni_named, "flows named by the server name of their ClientHello, in the kernel")                             \
	X(sni_unlisted, "of these: by a name that no application has")                                                 \
	X(sni_handed_off, "ClientHellos for user space: split, or without a plain name")                               \
	X(dns_read, "DNS responses read in the kernel")                                                                \
	X(dns_learned, "addresses learned from them")                                                                  \
	X(dns_handed_off, "DNS responses that user space reads")                                                       \
	X(answer_used, "flows named by a DNS answer, in the kernel")                                                   \
	X(name_ring_full, "names that found the ring full; the payload goes to user space instead")                    \
	X(psc_measured, "PDU Session Containers with delays or sequence numbers")                                      \
	X(psc_malformed, "of these: a field lies outside of the container")                                            \
	X(transit_measured, "packets whose way through the UPF was timed")                                             \
	X(payload_ring_full, "payload packets lost because the ring was full")                                         \
	X(event_ring_full, "flow events that found the ring full; a flow is told again with its next packet")          \
	X(detail_evicted, "details of media flows that left for those of others, the longest quiet first, once read")  \
	X(detail_full,                                                                                                 \
	  "packets of media flows without a detail: those with one were busy, as late as an interval ago")             \
	X(chunks, "request-answer pairs told to user space")                                                           \
	X(chunk_ring_full, "request-answer pairs lost because the ring was full")                                      \
	X(signalling, "PFCP or GTP-C datagrams, passed on in mirror mode")                                             \
	X(dropped, "action: dropped after counting")                                                                   \
	X(passed, "action: passed to this host")                                                                       \
	X(redirected, "action: sent out of the paired or the monitor port")                                            \
	X(redirect_lost, "of these: the paired port did not take them, so they are lost")                              \
	X(monitor_packets, "packets sent to the monitor port")                                                         \
	X(monitor_lost, "of these: the monitor port did not take them, so they are lost")                              \
	X(monitor_octets, "bytes of these packets as they were sent, the lost ones included")                          \
	X(monitor_saved, "bytes that the monitor port was spared: packets not sent, tunnels and ends cut off")         \
	X(joined_unread, "tunnel packets that a host sends as one: only the first of them is read")

#define SNF_ENUM(name, text) SNF_C_##name,
enum snf_counter { SNF_COUNTERS(SNF_ENUM) SNF_C_MAX };
#undef SNF_ENUM

#endif
