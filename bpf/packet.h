/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packet at hand: what the steps before have found of it. */
#ifndef SNF_PACKET_H
#define SNF_PACKET_H

#include "maps.h"

#define FRAGMENT_NONE  0
#define FRAGMENT_FIRST 1
#define FRAGMENT_LATER 2

/* What one packet's parser leaves for the next step. It is a map and not the stack because the
 * verifier forgets what it knew of a value stored here: the steps behind a loop are then
 * checked once and not once for each way out of the loop. */
struct ip {
	u8 src[16]; /* of IPv4 the last four bytes only, until full_addresses() */
	u8 dst[16];
	u32 total; /* IP total length; IPv6: 40 + payload length */
	u32 end;   /* offset of the end of the packet by its IP header */
	u8 proto;
	u8 ipv6;
	u8 fragment; /* 0 none, 1 first, 2 later */
	u8 more;     /* a fragment, and not the last */
	u32 id;	     /* of the fragmented datagram */
	u32 ttl;     /* or hop limit */
};

struct scratch {
	struct ip outer;
	struct ip inner;
	struct flow_key key;
	u32 flow_tag;	    /* of key in the flow table, */
	u32 flow_bucket[2]; /* its buckets, */
	u32 place;	    /* and its place in them; NO_PLACE: none */
	u32 longest;	    /* number of the flow of a bucket that is the longest silent, */
	u32 silent_us;	    /* and how long */
	u32 detail;	    /* place of a media flow in its set, from 1; 0: none yet */
	u32 keep;	    /* bits of enum policy_keep, for media.h, */
	u32 want;	    /* and what is to be done with the payload behind it (enum want) */
	u64 now_ns;	    /* the time, once fine is set */
	u32 now_us;	    /* its low half in microseconds, or that of the last tick */
	u32 off;	    /* offset of the next header */
	u32 frame_length;   /* on the wire */
	u32 gtpu_end;	    /* offset of the end of the GTP-U message */
	u32 teid;
	u32 gtpu_seq; /* sequence number of a signalling message */
	u32 payload_off;
	u32 payload_length; /* transport payload by the headers */
	u32 taken;	    /* bytes of it that a record has room for */
	u32 seq;
	u32 ack;
	u16 sport;
	u16 dport;
	u16 inner_off;	 /* offset of the inner packet */
	u16 snap_length; /* bytes that a monitor port may see of the packet */
	u8 tcp_flags;
	u8 whole_l4; /* 1: the transport header was all there, but perhaps the options of TCP */
	u8 gtpu;     /* IN_TUNNEL: the packet came in a tunnel; IN_LINE: on a fixed line */
	u8 qfi;
	u8 side; /* enum snf_side by the PDU Session Container; SIDE_UNKNOWN without one */
	u8 dir;
	u8 role;
	u8 signalling; /* 1: of a session's signalling, which a mirror passes on */
	u8 slot;
	u8 fine; /* 1: the clock was asked for this packet */
	u8 psc;	 /* 1: the packet's PDU Session Container measures something: */
	u8 psc_first;
	u8 psc_second;
	u32 psc_at; /* offset of its third octet */
	u32 psc_end;
	u32 delayed;		  /* bits of enum snf_delay: which delays this packet measured, */
	u32 delay_us[SNF_DELAYS]; /* and how long they were */
	u8 name[SNF_NAME];
	u32 name_length;
	u16 name_app;
	u8 name_basis;	  /* enum snf_basis */
	u8 name_odd;	  /* it holds what no plain name does */
	u16 name_network; /* of the suffix (struct suffix) */
	u16 name_at;	  /* compression pointer to the name that the next record of a DNS answer has to be of */
	u64 name_hash;
	u64 dots;		/* where s->name may have one: a bit for each place */
	u64 suffix[SNF_NAME];	/* hashes of the suffixes on label boundaries, the shortest first */
	u32 suffixes;		/* how many of them are still to be looked up */
	u32 records;		/* of a DNS response */
	u32 label;		/* where the next label of s->name begins */
	struct answer_key told; /* what one of them tells, */
	struct answer tells;
	struct entry wanted; /* in the session table */
	struct entry found;
	struct route_key route;
	u32 which; /* bits of wanted.head */
	u32 session_buckets;
	u32 start; /* where the packet's first IP header begins */
	u32 why;   /* counter of what outer.h is to look at, or WHY_TUNNEL */
	u32 labels;
	u16 start_type; /* its ethertype, when outer.h found it, or START_INNER; 0: the frame was not looked at yet */
	u16 open_type;
	u8 open;     /* enum open */
	u8 opens;    /* enum snf_encapsulation */
	u8 closed;   /* 1: a tunnel of the mirror is a packet like others */
	u32 session; /* what the session table says of the packet */
	u8 group;
	u8 way;		   /* enum snf_side */
	u16 segments;	   /* on the way out: packets that this one will be */
	struct flow fresh; /* a new flow is built here: it is too large for the stack */
};
BPF_PERCPU_ARRAY(scratch, struct scratch, 1);
#define SIDE_UNKNOWN 2
#define IN_TUNNEL    1 /* values of s->gtpu, beside 0 */
#define IN_LINE	     2
#define START_INNER  1 /* no ethertype: the inner packet is parsed already */
#define WHY_TUNNEL   0xffffffff

/* A value that lives in the scratch map and in no register: the verifier knows nothing of it, so
 * the ways through a loop that stores it here are one state at the next turn and not many. */
#define IN_MEMORY(x) (*(volatile __typeof__(x) *)&(x))

/* Drop what registers hold of memory, for the same reason: ways that left no other trace are one from here on. */
#define FORGET() asm volatile("" ::: "memory")

static __always_inline u32 ipv4(const u8 *address)
{
	return *(const u32 *)(address + 12);
}

/* Complete ::ffff:a.b.c.d. The steady state needs the last four bytes only. */
static __always_inline void full_addresses(struct ip *ip)
{
	u32 *src = (u32 *)ip->src, *dst = (u32 *)ip->dst;

	if (ip->ipv6)
		return;
	src[0] = src[1] = dst[0] = dst[1] = 0;
	src[2] = dst[2] = bpf_htonl(0xffff);
}

#endif
