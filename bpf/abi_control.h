/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What nf/kernel/dataplane.py and nf/kernel/suffixes.py tell the programs: settings, policies, names, answers. */
#ifndef SNF_ABI_CONTROL_H
#define SNF_ABI_CONTROL_H

#define SNF_APPS   4096	     /* applications that can have a policy */
#define SNF_GROUPS 8	     /* groups of subscribers with policies of their own; 0: all others */
#define SNF_PROBES TURNS(16) /* slots that a domain suffix can be in */
#define NAMING_ASK 0xffff    /* instead of an application: user space knows more about it */

enum snf_action { SNF_INSPECT = 0, SNF_COUNT = 1, SNF_TRUNCATE = 2, SNF_SUPPRESS = 3 };

/* Places of the second programs, which are entered by tail call. */
enum snf_next {
	NEXT_HANDOFF = 0,
	NEXT_TLS = 1,
	NEXT_DNS = 2,
	NEXT_MONITOR = 3,
	NEXT_NAME = 4,
	NEXT_SUFFIX = 5,
	NEXT_ANSWERS = 6,
	NEXT_OUTER = 7,
	NEXT_MEDIA = 8,
	NEXT_ROLE = 9, /* and the low two bits of enum snf_role: a packet again, from s->start on (outer.h) */
};

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
	__u64 answers;	     /* changes when flows got verdicts */
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
	__u32 flow_buckets;  /* of the flow table */
	__u32 detail_sets;   /* of the details of media flows */
	__u32 lines;	     /* 1: there are gateways of fixed lines, whose frames say the line that they are of */
	__u32 sees;	     /* ways that ports of each role see: bit 2 * (enum snf_role - 1) + enum snf_side */
	__u32 pad;
	__u64 flow_hash[5];		   /* secret: nobody can aim flows at one bucket */
	__u16 ranges[1 << SNF_RANGE_BITS]; /* of UE addresses: one changes when a UE in it changed its session */
};
_Static_assert(sizeof(struct control) == 192 + (2 << SNF_RANGE_BITS), "control is ABI");

struct policy {
	__u8 action;	   /* enum snf_action */
	__u8 keep;	   /* bits of enum policy_keep */
	__u16 snap_length; /* bytes of a packet that a monitor port may see; 0: it sees none */
};
_Static_assert(sizeof(struct policy) == 4, "policy is ABI");

enum policy_keep {
	KEEP_FINE = 1,	 /* packets other than TCP are timed to the microsecond, else to the kernel's tick */
	KEEP_DETAIL = 2, /* struct detail */
	KEEP_GROWN = 4,	 /* the same, once the flow has moved as much as media do */
};

/* A domain suffix and its application. A table of them is open: a suffix is in the slot that its hash says or, while
 * that is taken, as many slots further as the high half of the hash says (made odd), SNF_PROBES slots at most. */
struct suffix {
	__u64 hash; /* FNV-1a from the last byte to the first; 0: the slot is empty */
	__u16 app;
	__u16 network; /* 1: of an owner of several; user space may know by a label which of them */
	__u16 pad[2];
};
_Static_assert(sizeof(struct suffix) == 16, "suffix is ABI");

#endif
