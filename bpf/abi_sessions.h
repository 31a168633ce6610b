/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Whose a packet is: written by nf/kernel/sessions.py and nf/kernel/routes.py, read when a flow asks. */
#ifndef SNF_ABI_SESSIONS_H
#define SNF_ABI_SESSIONS_H

#define GOLDEN	       0x9e3779b1 /* of hashes: 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4) */
#define SNF_RANGE_BITS 10	  /* 2,000 changes a second, of two addresses each, are four of a range */

/* Whose a tunnel, or a UE address of N6, is: an entry of the session table, of which a bucket has 15. Written by user
 * space, session and tag last, while the programs read; an entry that was left is not used again for a while. */
struct entry {
	__u32 key;  /* TEID; UE's IPv4 address; first half of the /64 of its IPv6 address (TS 23.501, 5.8.2.2.3);
		       session, of ENTRY_GROUP and ENTRY_PLACE */
	__u32 head; /* bits 0-15: number of the receiving address (the TEID alone is not unique: TS 29.281, 5.1), or of
		       the network instance; above: enum entry_head */
	__u32 session; /* 0: free */
	__u32 more;    /* of a tunnel, to check its UE: ue_hash() of IPv4 or IPv6, or the high halves of both, IPv4's
			  below; of an IPv6 address: second half of the /64; of ENTRY_GROUP and
			  ENTRY_PLACE: group and place */
};
_Static_assert(sizeof(struct entry) == 16, "entry is ABI");

enum entry_head {
	ENTRY_SCOPE = 0xffff,
	ENTRY_KIND = 0x70000,
	ENTRY_TUNNEL = 0x10000,
	ENTRY_IPV4 = 0x20000,
	ENTRY_IPV6 = 0x30000,
	ENTRY_GROUP = 0x40000, /* of a session, where it is of one */
	ENTRY_PLACE = 0x50000, /* of a session: gNB and slice by a number, for which its delays are counted */
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

/* A fixed line is a tunnel to the table (line.h): its TEID is C-VLAN and number of the PPPoE session, its receiving
 * address an IPv6 address that no host has (RFC 6666): prefix, direction and S-VLAN, number of the gateway. */
#define LINE_PREFIX	  0x0100
#define LINE_DOWNLINK	  0x8000 /* beside the S-VLAN */
#define LINE_VLAN	  0x0fff /* IEEE 802.1Q, 9.6 */
#define LINE_SESSION_BITS 16	 /* RFC 2516, 4 */
#define LINE_GATEWAY_BITS 48	 /* of a gateway's number */
#define LINE_BY_SESSION	  1	 /* above them: several PPPoE sessions share a VLAN */
#define SNF_GATEWAYS	  256

#define ENDPOINT_PLACE 16 /* of a gNB: its number for echoes is so far above that of the address (map endpoints) */

enum entry_tag { TAG_FREE = 0, TAG_HELD = 0xff }; /* held: it was left, and is not free yet */

#define SNF_ENTRIES   15
#define SNF_SAME_TAGS 2 /* entries of equal tags in a word of tags that a reader looks at */
struct bucket {
	__u64 tags[2]; /* a byte an entry: of the hash of its key, 0 where there is none; of one value two a word at
			  most */
	struct entry entries[SNF_ENTRIES];
};
_Static_assert(sizeof(struct bucket) == 256, "bucket is four cache lines");

#endif
