/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Everything the kernel programs and user space share: keys, values, records,
 * counters. User space derives its numpy types from these structs and the
 * names of the counters from the list below; it repeats nothing of them.
 *
 * Two ends of a flow are `a` and `b`, ordered by address and port; direction 0
 * goes from a to b, direction 1 back. Which end is the UE is `ue_end`.
 */
#ifndef SNF_ABI_H
#define SNF_ABI_H

/* How often a loop may turn. A build of twice as many turns is loaded, never run: it shows the room that is left until
 * the verifier's limits (scripts/kernels). */
#ifndef LOOPS
#define LOOPS 1
#endif
#define TURNS(n) ((n)*LOOPS)

#define SNF_PORTS      1024 /* slots of the port table, by interface index modulo this */
#define SNF_STATS      16   /* ports that can be attached at once */
#define SNF_APPS       4096 /* applications that can have a policy */
#define SNF_GROUPS     8    /* groups of subscribers with policies of their own; 0: all others */
#define SNF_SHARD_BITS 10   /* 2,000 changes a second, of two addresses each, are four of a shard */
#define SNF_HANDOFF    3    /* payload packets of a direction that user space may see, */
#define SNF_HELLO      7    /* and so many from the beginning of a hello on, */
#define SNF_HELLOS     3    /* which may begin so often: a copy, a second try, another connection on the ports */

#define SNF_PAYLOAD TURNS(1920) /* bytes of a payload record: a ClientHello with a post-quantum key, joined by GRO */
#define SNF_NAME    TURNS(64)	/* longest host name that the kernel reads */
#define SNF_PROBES  TURNS(16)	/* slots that a domain suffix can be in */

#define SNF_MONITOR_PORT SNF_STATS /* index of the monitor port in the device map */

enum snf_role { SNF_N3 = 1, SNF_N6 = 2, SNF_ANY = 3 };
enum snf_mode { SNF_MIRROR = 0, SNF_LOCAL = 1, SNF_INLINE = 2 };
enum snf_monitor { SNF_MONITOR_SEND = 1, SNF_MONITOR_INNER = 2 /* without the tunnel */ };
enum snf_encapsulation {
	SNF_OPEN_TAGS = 1, /* more than three VLAN tags */
	SNF_OPEN_SGT = 2,
	SNF_OPEN_MPLS = 4,
	SNF_OPEN_VXLAN = 8,
	SNF_OPEN_GRE = 16,
	SNF_OPEN_ERSPAN = 32,
	SNF_OPEN_ETHERNET = 64, /* an Ethernet frame in GTP-U: a PDU session of this type */
	SNF_OPEN_RAW_IP = 128	/* no Ethernet header */
};
enum snf_action { SNF_INSPECT = 0, SNF_COUNT = 1, SNF_TRUNCATE = 2, SNF_SUPPRESS = 3 };
enum snf_side { SNF_UPLINK = 0, SNF_DOWNLINK = 1 };
enum snf_ue_end { SNF_UE_A = 0, SNF_UE_B = 1, SNF_UE_UNKNOWN = 2 };
enum snf_family { SNF_IPV4 = 0, SNF_IPV6 = 1, SNF_LINK_LOCAL = 2 }; /* of a flow */
enum snf_event_kind { SNF_FLOW_NEW = 1, SNF_FLOW_TUNNEL = 2, SNF_FLOW_RESTART = 3 };

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
	X(flow_collision, "packets whose folded IPv6 key belongs to another flow")                                     \
	X(flow_restarted, "flows begun again because their tunnel has a new owner")                                    \
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
	X(chunks, "request-answer pairs told to user space")                                                           \
	X(chunk_ring_full, "request-answer pairs lost because the ring was full")                                      \
	X(signalling, "PFCP or GTP-C datagrams, passed on in mirror mode")                                             \
	X(dropped, "verdict: dropped after counting")                                                                  \
	X(passed, "verdict: passed to this host")                                                                      \
	X(redirected, "verdict: sent out of the paired or the monitor port")                                           \
	X(redirect_lost, "of these: the paired port did not take them, so they are lost")                              \
	X(monitor_packets, "packets sent to the monitor port")                                                         \
	X(monitor_lost, "of these: the monitor port did not take them, so they are lost")                              \
	X(monitor_octets, "bytes of these packets as they were sent, the lost ones included")                          \
	X(monitor_saved, "bytes that the monitor port was spared: packets not sent, tunnels and ends cut off")

#define SNF_ENUM(name, text) SNF_C_##name,
enum snf_counter { SNF_COUNTERS(SNF_ENUM) SNF_C_MAX };
#undef SNF_ENUM

/* One attached interface. Written by user space at attach; index: interface index modulo SNF_PORTS. */
struct port {
	__u32 ifindex;	/* 0: slot is free; any other value than the packet's is a stranger's */
	__u32 instance; /* network instance of the UE addresses behind an N6 port */
	__u8 slot;	/* index of its counters */
	__u8 mode;	/* enum snf_mode */
	__u8 peer;	/* inline: index of the paired port in the device map */
	__u8 monitor;	/* mirror: bits of enum snf_monitor; 0: there is no monitor port */
	__u8 role;	/* enum snf_role */
	__u8 opens;	/* bits of enum snf_encapsulation: what is looked through */
	__u8 pad[2];
};
_Static_assert(sizeof(struct port) == 16, "port is ABI");

struct port_stats {
	__u64 n[SNF_C_MAX]; /* by enum snf_counter */
};

/* What the programs of loss.h need to know of the running kernel, and a frame that user space sends to try a port. */
struct watch {
	__u32 ifindex_at; /* in struct net_device, bytes; all three by the kernel's BTF */
	__u32 net_at;	  /* in struct net_device: pointer to its struct net */
	__u32 netns_at;	  /* in struct net: number of the namespace */
	__u32 netns;	  /* number of the function's own one */
	__u32 monitor;	  /* interface index of the monitor port, 0: none */
	__u32 target;	  /* index in the device map of the port that is tried */
	__u32 tried;	  /* its interface index; 0: none is tried */
	__u32 taken;	  /* frames that it took */
	__u32 dropped;	  /* frames that it did not take */
	__s32 error;	  /* why, a negative errno; 0: its queue was full */
};
_Static_assert(sizeof(struct watch) == 40, "watch is ABI");

/* Frames of a port that the driver of the other one refused with an error, which a full queue is not. */
struct refusal {
	__u64 frames;
	__s32 error; /* the last one, a negative errno */
	__u32 pad;
};
_Static_assert(sizeof(struct refusal) == 16, "refusal is ABI");

/* What user space tells the programs, and in replay the time. One entry, mapped into user space. */
struct control {
	__u64 clock_ns;	     /* replay: time of the packet being run; live: unused */
	__u64 next_flow;     /* number of the next flow; only the programs write it */
	__u32 generation[3]; /* by enum snf_family: changes with tunnels whose UE is not known by such an address, and
				groups */
	__u32 epoch;	     /* number of the current interval; a change resets minima and maxima */
	__u32 split_legs;    /* 1: one flow per pair of tunnel endpoints (replay); 0: one per 5-tuple */
	__u32 seed;   /* of the hash that tells IPv6 flows with one key apart; secret, so that nobody can aim at it */
	__u32 reader; /* one value of FLOW_READER: who has to be told of each flow once */
	__u32 tick_at_us;    /* low half of the time of `tick` */
	__u64 tick;	     /* number of a tick of the kernel */
	__u64 tick_us_q20;   /* length of a tick in 2^-20 us */
	__u64 tick_ns;	     /* the kernel's time of `tick` */
	__u64 answers;	     /* changes when the verdict table got entries */
	__u64 suffixes;	     /* table in use: index of its first slot in the high half, slots - 1 in the low half */
	__u32 abi;	     /* of the process that made the maps: another one takes them over when it has the same */
	__u32 first_session; /* lower numbers are those of a process that died: nobody's */
	__u32 birth_gap_ns;  /* a flow without a session may begin so often a port and CPU; 0: as often as it wants */
	__u32 groups;	     /* 1: some sessions are of a group */
	__u32 economy;	     /* 1: DNS is read here, and what an answer names over QUIC hands nothing over */
	__u32 legs;	     /* 1: user data may pass here in several tunnels, and is looked for among what passed */
	__u32 follow;	     /* 1: N3 and N6 are attached, and packets are timed between them */
	__u32 wire_length;   /* replay: bytes that the frame had, of which the capture may have the first only */
	__u32 buckets;	     /* of the session table */
	__u32 routes;	     /* entries of the map of that name: while there is none, nobody asks it */
	__u32 stale;	     /* replay: after so many epochs without a packet the clocks of a flow say nothing */
	__u32 pad[3];
	__u16 shards[1 << SNF_SHARD_BITS]; /* one changes when a UE whose address is of it changed its session */
};
_Static_assert(sizeof(struct control) == 144 + (2 << SNF_SHARD_BITS), "control is ABI");

/* Whose a tunnel, or a UE address of N6, is: an entry of the session table, of which a bucket has 15. Written by user
 * space, session and tag last, while the programs read; an entry that was left is not used again for a while. */
struct entry {
	__u32 key;  /* TEID; UE's IPv4 address; first half of the /64 of its IPv6 address (TS 23.501, 5.8.2.2.3);
		       session, of ENTRY_GROUP */
	__u32 head; /* bits 0-15: number of the receiving address (the TEID alone is not unique: TS 29.281, 5.1), or of
		       the network instance; above: enum entry_head */
	__u32 session; /* 0: free */
	__u32 more;    /* of a tunnel, to check its UE: ue_hash() of IPv4 or IPv6, or the high halves of both, IPv4's
			  below;    of an IPv6 address: second half of the /64; of ENTRY_GROUP: the group */
};
_Static_assert(sizeof(struct entry) == 16, "entry is ABI");

enum entry_head {
	ENTRY_SCOPE = 0xffff,
	ENTRY_KIND = 0x70000,
	ENTRY_TUNNEL = 0x10000,
	ENTRY_IPV4 = 0x20000,
	ENTRY_IPV6 = 0x30000,
	ENTRY_GROUP = 0x40000, /* of a session, where it is of one */
	ENTRY_DOWNLINK = 0x100000,
	ENTRY_HAS_IPV4 = 0x200000, /* of a tunnel: the UE's address is known */
	ENTRY_HAS_IPV6 = 0x400000,
	ENTRY_SHARED = 0x800000,  /* of an address: several network instances have it */
	ENTRY_ROUTED = 0x1000000, /* of a tunnel: its session has prefixes beside, see struct route_key */
};

/* A prefix of a session beyond its first addresses (TS 29.244, 5.16), for the longest match. */
enum route_kind { ROUTE_OF_TUNNEL = 0, ROUTE_OF_INSTANCE = 1 };
struct route_key {
	__u32 prefix; /* bits that count of what follows */
	__u32 kind;   /* enum route_kind */
	__u32 scope; /* the session; number of the network instance, 0: of any while one session alone has the prefix */
	__u8 address[16];
};
_Static_assert(sizeof(struct route_key) == 28, "route_key is ABI");

enum entry_tag { TAG_FREE = 0, TAG_HELD = 0xff }; /* held: it was left, and is not free yet */

#define SNF_ENTRIES 15
struct bucket {
	__u64 tags[2]; /* a byte an entry: of the hash of its key, 0 where there is none; of one value two a word at
			  most */
	struct entry entries[SNF_ENTRIES];
};
_Static_assert(sizeof(struct bucket) == 256, "bucket is four cache lines");

/* Two tunnel ends, named by who sends the echo request. */
struct path_key {
	__u8 from[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 to[16];
};
_Static_assert(sizeof(struct path_key) == 32, "path_key is ABI");

struct path {
	__u64 last_ns;
	__u64 rtt_sum_us;
	__u32 rtt_n;
	__u32 rtt_min_us;
	__u32 rtt_last_us;
	__u32 requests;
	__u32 responses;
	__u32 error_indications; /* sent by `from` */
	__u8 pad[24];
};
_Static_assert(sizeof(struct path) == 64, "path is ABI");

struct policy {
	__u8 action;	   /* enum snf_action */
	__u8 keep;	   /* bits of enum policy_keep */
	__u16 snap_length; /* bytes of a packet that a monitor port may see; 0: it sees none */
};
_Static_assert(sizeof(struct policy) == 4, "policy is ABI");

enum policy_keep {
	KEEP_FINE = 1,	 /* packets other than TCP are timed to the microsecond, else to the kernel's tick */
	KEEP_DETAIL = 2, /* struct detail */
};

/* 16 bytes, so that the value behind it begins on a cache line. Addresses and ports in network order. */
struct flow_key {
	__u32 a; /* IPv4 address, or the folded IPv6 address */
	__u32 b;
	__u16 port_a; /* 0 for anything but TCP and UDP, and for later fragments */
	__u16 port_b;
	__u8 proto;
	__u8 ipv6;
	__u16 leg; /* hash of the two tunnel endpoints when legs are split, else 0 */
};
_Static_assert(sizeof(struct flow_key) == 16, "flow_key is ABI");

/* The answer of user space about a flow. */
struct verdict {
	__u32 flow; /* low half of the flow number it is about */
	__u16 app;
	__u8 final; /* 1: there will be no other answer */
	__u8 pad;
};
_Static_assert(sizeof(struct verdict) == 8, "verdict is ABI");

/* Times within a flow are the low half of a clock in microseconds: differences hold for 35 minutes, and a live
 * flow leaves the table after five without a packet. */
struct tcp_state {
	__u32 max_seq[2];  /* sequence number after the last byte seen */
	__u32 probe_us[2]; /* when the segment of the RTT probe passed; 0: there is no probe */
	__u32 probe[2];	   /* the acknowledgement number that answers it: where that segment ends */
	__u32 isn;	   /* initial sequence number of who opened the connection, once TCP_CLIENT is set */
	__u8 seen[2];	   /* bits of enum tcp_seen */
	__u8 turn[2];	   /* which segment is the probe (tcp_probe) */
};
_Static_assert(sizeof(struct tcp_state) == 32, "tcp_state is ABI");

enum tcp_seen {
	TCP_SEQ = 1,	/* max_seq is known */
	TCP_CLIENT = 2, /* this end opened the connection, */
	TCP_OPEN = 4,	/* and its handshake is going on, */
	TCP_OVER = 8,	/* or was seen to its end */
};

/* What few packets of TCP touch. */
struct tcp_rare {
	__u32 retrans[2];
	__u16 reordered[2]; /* differences wrap with it */
	__u32 connect_us;   /* SYN to the ACK that ends the handshake, whether or not a SYN-ACK was seen */
	union {
		__u32 syn_us;  /* of the last SYN before its answer, while the handshake is going on */
		__u32 hole_us; /* when a segment last came before its predecessor, its direction in bit 0; 0: never */
	};
	__u32 hole_seq; /* where the bytes begin that it came before */
};
_Static_assert(sizeof(struct tcp_rare) == 24, "tcp_rare is ABI");

struct rtp_state {
	__u32 ssrc[2];
	__u32 expected[2]; /* RFC 3550, A.3, since the flow began */
	__u32 received[2];
	__u16 max_seq[2];
	__u8 valid[2];	/* bits of enum rtp_valid; RTP_VALID: two packets in sequence were seen */
	__u8 misses[2]; /* packets of other sources in a row */
};
_Static_assert(sizeof(struct rtp_state) == 32, "rtp_state is ABI");

/* What few packets of RTP touch: of another source than the one that is followed, or after a jump. */
struct rtp_rare {
	__u32 ssrc[2];	   /* the other source, */
	__u16 max_seq[2];  /* and its packets in a row, without one of the source that is followed: */
	__u16 expected[2]; /* by their sequence numbers */
	__u8 received[2];
	__u16 bad_seq[2]; /* after a jump, with RTP_JUMPED: the number that would confirm it */
	__u8 pad[2];
};
_Static_assert(sizeof(struct rtp_rare) == 24, "rtp_rare is ABI");

enum rtp_valid { RTP_VALID = 1, RTP_JUMPED = 2 };

struct quic_state {
	__u32 hello_us;	  /* the client's first packet */
	__u32 answer_us;  /* the server's; 0: none yet */
	__u32 flight_us;  /* its packet that brought its hello; 0: none yet */
	__u32 edge_us[2]; /* of the spin bit; 0: none yet */
	__u16 shorts;	  /* short headers, 65535 at most */
	__u16 edges;
	__u8 spin[2]; /* last value */
	__u8 client;  /* direction of its packets */
	__u8 again;   /* 1: the client's first packet was sent twice */
	__u8 done;    /* 1: the handshake was timed, or cannot be */
	__u8 flight;  /* 1: a Handshake packet of the server passed */
	__u8 hushed;  /* bit d: the last edge of d may be a mere acknowledgement, and the other side was silent since */
	__u8 pad;
};
_Static_assert(sizeof(struct quic_state) == 32, "quic_state is ABI");

/* Of a flow to or from port 53. Counts are of queries, and differences wrap with them. */
struct dns_state {
	__u32 asked_us[2]; /* queries without an answer so far; 0: none */
	__u16 id[2];
	__u8 twice; /* bit n: query n was sent again */
	__u8 pad;
	__u16 timed; /* answers in sum_us */
	__u32 queries;
	__u32 answers;
	__u32 sum_us;
	__u16 failed; /* answers with an error, but for names that do not exist */
	__u16 again;  /* queries sent again */
};
_Static_assert(sizeof(struct dns_state) == 32, "dns_state is ABI");

/* A flow. Index [2]: direction; a direction's fields are written by its packets only.
 * For rtt_* and handshake_us, [d] is the answer to packets of direction d, so the far side seen from there.
 * Who talks to whom is in the key; what of it does not fit there went to user space when the flow began. */
struct flow {
	/* first line: every packet */
	__u64 bytes[2]; /* inner IP total length */
	__u32 packets[2];
	__u32 last_us[2];
	__u32 teid[2];
	__u32 session;
	__u32 generation;
	__u16 app;
	__u8 qfi[2];
	__u8 ue_end;  /* enum snf_ue_end */
	__u8 owner;   /* bits 0-3: enum snf_role, two a direction: the port that counts it; 4-7: hellos, two likewise */
	__u8 flags;   /* enum flow_flags */
	__u8 group;   /* of subscribers: which policies hold */
	__u64 number; /* unique for the life of the maps */
	/* second line: every packet that is inspected */
	union {
		struct tcp_state tcp;
		struct rtp_state rtp;
		struct quic_state quic; /* FLOW_QUIC */
		struct dns_state dns;	/* UDP, port 53 */
	};
	__u32 payload_packets[2];
	__u32 gap_ticks[2];  /* gaps between packets of one direction, each cut at one second */
	__u32 gap_ticks2[2]; /* their squares: no sum grows past 32 bits within 17 s, and differences wrap with it */
	__u16 gap_max[2];    /* of this epoch, in SNF_GAP_MAX_US */
	__u16 epoch;
	__u8 asked; /* low byte of control.answers when the verdict table was last asked about it */
	__u8 left;  /* payloads that may still be handed over, four bits a direction */
	/* third line: now and then */
	__u32 rtt_sum_us[2];
	__u32 rtt_n[2];
	__u32 rtt_min_us[2]; /* of this epoch */
	__u32 handshake_us[2];
	union {
		struct tcp_rare tcp_rare;
		struct rtp_rare rtp_rare;
	};
	__u32 check; /* IPv6: a second hash of both addresses */
	__u32 frags;
};
_Static_assert(sizeof(struct flow) == 192, "flow is ABI");

#define SNF_GAP_TICK_US                                                                                                \
	64 /* unit of gap_ticks: far below a millisecond of jitter, and squares of a second fit 32 bits */
#define SNF_GAP_MAX_US 1024 /* unit of gap_max, which holds a minute */

enum flow_flags {
	FLOW_FINAL = 1, /* user space has nothing more to say of its application */
	FLOW_BOUND_0 = 2,
	FLOW_BOUND_1 = 4,
	FLOW_FIRST_B = 8, /* the first packet came from b */
	FLOW_GTPU = 16,	  /* seen in a tunnel */
	FLOW_QUIC = 128,  /* QUIC, seen from its first packet */
	FLOW_READER = 96, /* two bits: the reader that was told of it; 0: none */
};

/* Fragments before the last of their datagram; they are in the counts of their flow as well. */
struct early {
	__u32 packets[2];
	__u32 bytes[2];
};
_Static_assert(sizeof(struct early) == 16, "early is ABI");

/* What media flows keep as well, by flow number. Down and up are as seen from the UE. */
struct detail {
	__u32 down_sizes[6]; /* packets by payload length: below 128, 306, 700, 1100, 1350 bytes, and above */
	__u32 up_sizes[4];   /* below 100, 300, 700 bytes, and above */
	__u32 slot;	     /* number of the newest slot of 100 ms: clock in microseconds / 100000 */
	__u16 peak;	     /* of this epoch: the fullest slot before the newest, in 128 bytes */
	__u16 busy;	     /* of this epoch: slots with a downlink packet */
	__u16 slots[12];     /* downlink bytes / 128 of the last slots, by slot number modulo 12 */
	__u16 epoch;
	__u16 last_length[3]; /* of the last video packets */
	__u32 frames;	      /* ended */
	__u32 packet_us;      /* last packet of the frame that is open */
	__u32 frame_end_us;   /* end of the frame before */
	__u32 frame_gap_us;   /* mean distance of frame ends */
	__u32 frozen_ms;      /* sum of the distances that were far above it */
	__u32 request_us;     /* the chunk that is open: its request, */
	__u32 first_us;	      /* first and last packet of the answer; 0: none yet */
	__u32 last_us;
	__u32 chunk_bytes;
	__u32 chunk_packets;
	__u16 request_length;
	__u16 chunks;	     /* closed and large enough */
	__u16 frames_before; /* low halves of what was counted when the epoch began */
	__u16 frozen_before;
};
_Static_assert(sizeof(struct detail) == 128, "detail is ABI");

/* What PDU Session Containers measure of a QoS flow. Index [2]: enum snf_side. */
struct delay_key {
	__u32 session; /* 0: unknown, then the TEID of the packet says whose it is */
	__u32 teid;
	__u32 qfi;
};
_Static_assert(sizeof(struct delay_key) == 12, "delay_key is ABI");

struct delay {
	__u32 ran_ms[2]; /* the gNB's last word: NG-RAN and radio (TS 38.415, 5.5.3.14 and 5.5.3.16) */
	__u32 ran_sum_ms[2];
	__u32 ran_min_ms[2];
	__u32 ran_n[2];
	__u64 n3_sum_us; /* round trip from here to the gNB */
	__u32 n3_us;
	__u32 n3_min_us;
	__u32 n3_n;
	__u32 n3n9_ms; /* the path below, as the gNB or UPF reports it (5.5.3.20) */
	__u32 n3n9_n;
	__u32 ppi;	   /* paging policy indicator */
	__u32 sequence[2]; /* last one */
	__u32 expected[2];
	__u32 received[2];
	__u32 pad[2];
};
_Static_assert(sizeof(struct delay) == 96, "delay is ABI");

/* The way through the UPF, by session. Index [2]: enum snf_side. */
struct transit {
	__u64 sum_us[2];
	__u32 n[2];
	__u32 min_us[2];
	__u32 max_us[2];
	__u32 seen[2]; /* packets that were followed; those above n were seen on one side only */
};
_Static_assert(sizeof(struct transit) == 48, "transit is ABI");

/* A tunnel that its receiving end knows no more: it answers user data with error indications (TS 29.281, 7.3.1). */
struct tunnel_key {
	__u8 address[16]; /* of who receives; IPv4 as ::ffff:a.b.c.d */
	__u32 teid;
};
_Static_assert(sizeof(struct tunnel_key) == 20, "tunnel_key is ABI");

struct tunnel_error {
	__u64 last_ns;
	__u32 count;
	__u32 pad;
};
_Static_assert(sizeof(struct tunnel_error) == 16, "tunnel_error is ABI");

/* A request and its answer, told when the next request closes it. Times: low half of the clock in microseconds. */
struct chunk {
	__u64 number; /* of the flow */
	__u32 request_us;
	__u32 first_us;
	__u32 last_us;
	__u32 bytes; /* transport payload */
	__u32 packets;
	__u32 idle_us; /* from the end of the answer before to this request; 0: there was none */
	__u16 request_length;
	__u8 pad[6];
};
_Static_assert(sizeof(struct chunk) == 40, "chunk is ABI");

/* A flow began, changed its tunnel, began again under another session, or is told once more because its
 * beginning found the ring full or another reader. */
struct flow_event {
	__u64 number;
	__u64 at_ns;
	struct flow_key key;
	__u8 address_a[16];
	__u8 address_b[16];
	__u8 outer_src[16];
	__u8 outer_dst[16];
	__u32 teid;
	__u32 session;
	__u8 kind; /* enum snf_event_kind */
	__u8 dir;
	__u8 qfi;
	__u8 role;
	__u8 gtpu;
	__u8 first_dir; /* direction of the flow's first packet */
	__u8 ue_end;	/* enum snf_ue_end */
	__u8 ttl;	/* or hop limit, of this packet */
	__u16 app;	/* a DNS answer named it, */
	__u8 pad[6];
	__u64 name; /* by the name of this hash (struct named) */
};
_Static_assert(sizeof(struct flow_event) == 128, "flow_event is ABI");

/* A flow that gave its place in the table to another one of the same key, as it was then. */
struct ended {
	struct flow_key key;
	struct flow flow;
};
_Static_assert(sizeof(struct ended) == 208, "ended is ABI");

/* A domain suffix and its application. A table of them is open: a suffix is in the slot that its hash says or, while
 * that is taken, as many slots further as the high half of the hash says (made odd), SNF_PROBES slots at most. */
struct suffix {
	__u64 hash; /* FNV-1a from the last byte to the first; 0: the slot is empty */
	__u16 app;
	__u16 network; /* 1: of an owner of several; user space may know by a label which of them */
	__u16 pad[2];
};
_Static_assert(sizeof(struct suffix) == 16, "suffix is ABI");

/* The kernel named a flow, or read a DNS response in it. */
struct named {
	__u64 number; /* of the flow */
	__u64 hash;   /* of the name, FNV-1a from its last byte to its first */
	__u16 app;    /* 0: no suffix of the name belongs to one */
	__u8 basis;   /* enum snf_basis */
	__u8 length;
	__u32 pad;
	struct flow_key key;
	__u8 name[SNF_NAME];
};
_Static_assert(sizeof(struct named) == 40 + SNF_NAME, "named is ABI");

/* Kinds of records to user space; each has rings of its own (maps.h). */
enum snf_ring {
	SNF_RING_EVENTS = 0,
	SNF_RING_PAYLOADS = 1,
	SNF_RING_CHUNKS = 2,
	SNF_RING_NAMES = 3,
	SNF_RING_ENDED = 4,
	SNF_RING_KINDS = 5
};

enum snf_basis { SNF_BY_SNI = 1, SNF_BY_DNS = 3 }; /* as nf/apps/basis.py */

/* The start of a payload packet of a flow that has no name yet. */
struct payload {
	__u64 number; /* of the flow */
	__u64 at_ns;
	struct flow_key key;
	__u8 address_a[16];
	__u8 address_b[16];
	__u32 session;
	__u32 seq;	   /* TCP: sequence number of data[0] */
	__u16 length;	   /* bytes in data */
	__u16 wire_length; /* bytes of payload in the packet */
	__u8 dir;
	__u8 ue_end;
	__u8 pad[50];
	__u8 data[SNF_PAYLOAD];
};
_Static_assert(sizeof(struct payload) == 128 + SNF_PAYLOAD, "payload is ABI");

#endif
