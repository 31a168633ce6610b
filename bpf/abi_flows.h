/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The flow table: written by the packet path, mapped into user space, which reads what moved once an interval. */
#ifndef SNF_ABI_FLOWS_H
#define SNF_ABI_FLOWS_H

enum snf_side { SNF_UPLINK = 0, SNF_DOWNLINK = 1 };
enum snf_ue_end { SNF_UE_A = 0, SNF_UE_B = 1, SNF_UE_UNKNOWN = 2 };
enum snf_family { SNF_IPV4 = 0, SNF_IPV6 = 1, SNF_LINK_LOCAL = 2 }; /* of a flow */

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

/* What a tag means by its low two bits; the others are those of the hash of the flow's key (flow_table.h). */
enum flow_tag {
	FLOW_FREE = 0,
	FLOW_HELD = 1,	  /* the flow left; its counts are read once more before the place is free */
	FLOW_CLAIMED = 2, /* a CPU writes the flow */
	FLOW_READY = 3,
	FLOW_STATE = 3, /* the bits */
};

/* Places of flows; the state of a flow is in the map `flows`, at SNF_FLOWS times the bucket and its place here. */
#define SNF_FLOWS 12
struct flow_bucket {
	__u32 tags[SNF_FLOWS];
	__u8 moved[SNF_FLOWS]; /* low byte of the epoch in which it last had a packet */
	__u32 pad;
	struct flow_key keys[SNF_FLOWS];
	struct verdict verdicts[SNF_FLOWS]; /* written by user space only, so its lines stay in each core's cache */
	__u64 more[4];
};
_Static_assert(sizeof(struct flow_bucket) == 384, "flow_bucket is six cache lines");

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
	TCP_SEQ = 1,	   /* max_seq is known */
	TCP_CLIENT = 2,	   /* this end opened the connection, */
	TCP_OPEN = 4,	   /* and its handshake is going on, */
	TCP_OVER = 8,	   /* or was seen to its end */
	TCP_FIN_SENT = 16, /* this end sends no more */
	TCP_RST_SENT = 32, /* or ended the connection for both */
};

/* What few packets of TCP touch. */
struct tcp_rare {
	__u32 retrans[2];
	__u8 spurious[2]; /* of them: the original had arrived; differences wrap with it */
	__u8 rtt_high[2]; /* largest round trip of this epoch as rtt_code() writes it; of QUIC as well; 0: none */
	__u32 connect_us; /* SYN to the ACK that ends the handshake, whether or not a SYN-ACK was seen */
	union {
		__u32 syn_us;  /* of the last SYN before its answer, while the handshake is going on */
		__u32 hole_us; /* when a segment last came before its predecessor, its direction in bit 0; 0: never */
	} at;
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
	} transport;
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
		struct tcp_rare tcp; /* QUIC has its largest round trips here */
		struct rtp_rare rtp;
	} rare;
	__u32 check;	/* IPv6: a second hash of both addresses */
	__u16 frags;	/* 65535 at most */
	__u8 filled[2]; /* segments of TCP sent again that filled a gap: lost before the probe; differences wrap with it
			 */
};
_Static_assert(sizeof(struct flow) == 192, "flow is ABI");

#define SNF_GAP_TICK_US                                                                                                \
	64 /* unit of gap_ticks: far below a millisecond of jitter, and a second's square fits 32 bits */
#define SNF_GAP_MAX_US 1024	  /* unit of gap_max, which holds a minute */
#define NO_RTT	       0xffffffff /* instead of a least RTT: there is no sample yet */

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

#endif
