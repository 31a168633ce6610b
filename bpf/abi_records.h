/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Records of the rings: written by the packet path, read by nf/naming, nf/flows and nf/replay. */
#ifndef SNF_ABI_RECORDS_H
#define SNF_ABI_RECORDS_H

#define SNF_HANDOFF 3 /* payload packets of a direction that user space may see, */
#define SNF_HELLO   7 /* and so many from the beginning of a hello on, */
#define SNF_HELLOS  3 /* which may begin so often: a copy, a second try, another connection on the ports */

#define SNF_PAYLOAD TURNS(1920) /* bytes of a payload record: a ClientHello with a post-quantum key, joined by GRO */
#define SNF_NAME    TURNS(64)	/* longest host name that the kernel reads */

enum snf_event_kind { SNF_FLOW_NEW = 1, SNF_FLOW_TUNNEL = 2, SNF_FLOW_RESTART = 3 };

/* Kinds of records to user space; each has rings of its own (maps.h). */
enum snf_ring {
	SNF_RING_EVENTS = 0,
	SNF_RING_PAYLOADS = 1,
	SNF_RING_CHUNKS = 2,
	SNF_RING_NAMES = 3,
	SNF_RING_ENDED = 4,
	SNF_RING_EVICTED = 5,
	SNF_RING_KINDS = 6
};

enum snf_basis { SNF_BY_SNI = 1, SNF_BY_DNS = 3 }; /* two of the grounds of nf/apps/basis.py, of the same numbers */

/* A request and its answer, told when the next request closes it. Times as in struct chunk_state. */
struct chunk {
	__u64 number; /* of the flow */
	__u32 request_us;
	__u32 unanswered_us;
	__u32 first_us;
	__u32 last_us;
	__u32 bytes; /* transport payload */
	__u32 packets;
	__u32 idle_us; /* from the end of the answer to the request that closed it */
	__u32 gap_max_us;
	__u16 requests;
	__u16 request_length;
	__u32 pad;
};
_Static_assert(sizeof(struct chunk) == 48, "chunk is ABI");

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
	__u8 pad[2];
	__u32 place; /* in the flow table */
	__u64 name;  /* by the name of this hash (struct named) */
};
_Static_assert(sizeof(struct flow_event) == 128, "flow_event is ABI");

/* A flow that gave its place in the table to another one of the same key, as it was then. */
struct ended {
	struct flow_key key;
	struct flow flow;
	__u32 place;
	__u32 pad;
};
_Static_assert(sizeof(struct ended) == 216, "ended is ABI");

/* A flow that is held because its bucket was full. */
struct evicted {
	__u32 place; /* NO_PLACE: user space took it at the same moment */
	__u32 pad;
};
_Static_assert(sizeof(struct evicted) == 8, "evicted is ABI");

#define NO_PLACE 0xffffffff

/* The kernel named a flow, or read a DNS response in it. */
struct named {
	__u64 number; /* of the flow */
	__u64 hash;   /* of the name, FNV-1a from its last byte to its first */
	__u16 app;    /* 0: no suffix of the name belongs to one */
	__u8 basis;   /* enum snf_basis */
	__u8 length;
	__u32 place; /* of the flow in the flow table */
	struct flow_key key;
	__u8 name[SNF_NAME];
};
_Static_assert(sizeof(struct named) == 40 + SNF_NAME, "named is ABI");

/* The start of a payload packet of a flow that has no name yet. */
struct payload {
	__u64 number; /* of the flow */
	__u64 at_ns;
	struct flow_key key;
	__u8 address_a[16];
	__u8 address_b[16];
	__u32 session;
	__u32 seq;    /* TCP: sequence number of data[0] */
	__u16 length; /* bytes in data */
	__u8 dir;
	__u8 ue_end;
	__u32 place; /* of the flow in the flow table */
	__u8 pad[48];
	__u8 data[SNF_PAYLOAD];
};
_Static_assert(sizeof(struct payload) == 128 + SNF_PAYLOAD, "payload is ABI");

#endif
