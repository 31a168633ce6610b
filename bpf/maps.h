/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* All maps. Constants of the loader come as -D; a map whose size is SITE_SIZED gets that of the site when it is made
 * (nf/kernel/source.py: table_sizes). */
#ifndef SNF_MAPS_H
#define SNF_MAPS_H

#include "abi.h"
#include "inline.h"

#define SITE_SIZED 64

/* Attached interfaces. Written by nf/kernel at attach and detach; read on every packet. */
BPF_ARRAY(ports, struct port, SNF_PORTS);

/* Counters of a port, one copy a CPU so that the packet path takes no lock; summed by nf/kernel. */
BPF_PERCPU_ARRAY(stats, struct port_stats, SNF_STATS);

/* When the bucket of limit.h of a port will be full again, one copy a CPU; read and written by the packet path only. */
BPF_PERCPU_ARRAY(births, u64, SNF_STATS);

/* Clock of a replay, generation, epoch. Mapped into user space: a change is one store. */
BPF_F_TABLE("array", u32, struct control, control, 1, BPF_F_MMAPABLE);

/* The session table (session.h). Mapped into user space, which writes it; read when a flow is new, changes its TEID
 * or its generation moved. Both buckets of an entry full: it is refused and counted in user space. */
BPF_F_TABLE("array", u32, struct bucket, sessions, SITE_SIZED, BPF_F_MMAPABLE);

/* Addresses that receive tunnels, and the numbers by which entries know them, with the place of a gNB above. Full: the
 * update fails and is counted in user space. */
struct address {
	u8 octets[16]; /* IPv4 as ::ffff:a.b.c.d */
};
BPF_F_TABLE("hash", struct address, u32, endpoints, SNF_ENDPOINTS, BPF_F_NO_PREALLOC);

/* Prefixes of sessions beyond their first addresses. Written by user space; read where the session table knows nobody,
 * while there are any. Full: user space counts what it does not write. */
BPF_F_TABLE("lpm_trie", struct route_key, u32, routes, SNF_ROUTES, BPF_F_NO_PREALLOC);

/* Gateways of fixed lines by the Ethernet addresses of their side of the lines: LINE_BY_SESSION above the number of the
 * gateway. Written at a commit; read with each frame of a port for N6, while there are any. */
BPF_F_TABLE("hash", u64, u64, gateways, SNF_GATEWAYS, BPF_F_NO_PREALLOC);

/* Policy by group of subscribers and, within it, application number; number 0: traffic without a name. Written at a
 * commit. */
BPF_ARRAY(policies, struct policy, SNF_GROUPS *SNF_APPS);

/* The flow table (flow_table.h), mapped into user space: places, and the states of the flows in them. Both buckets of a
 * flow full: the longest silent flow of the first one leaves, and user space reads its counts. */
BPF_F_TABLE("array", u32, struct flow_bucket, flow_buckets, SITE_SIZED, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct flow, flows, SITE_SIZED, BPF_F_MMAPABLE);

/* More about media flows (detail_table.h), mapped into user space, which only reads: places by flow number, and the
 * details in them. A set full: the flow that was quiet for the longest leaves, and begins anew with its next packet. */
BPF_F_TABLE("array", u32, struct detail_set, detail_sets, SITE_SIZED, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct detail, details, SITE_SIZED, BPF_F_MMAPABLE);

/* Ports of fragmented datagrams, from the first fragment to the later ones that do not have them.
 * Full: the oldest leaves, and its later fragments are counted in a flow without ports. */
struct fragment_key {
	u8 src[16];
	u8 dst[16];
	u32 id;
	u32 proto;
};
struct fragment {
	u32 ports; /* source in the low half; 0: the first fragment has not come */
	u32 last;  /* 1: the last fragment came before the first */
};
BPF_TABLE("lru_hash", struct fragment_key, struct fragment, fragments, 8192);

/* Fragments that came before the last of their datagram, by flow number. Read by a replay, whose rows show them
 * apart. Full: the oldest leaves, and its fragments are shown with their flow. */
BPF_TABLE("lru_hash", u64, struct early, earlies, 4096);

/* Application by the hash of a domain suffix (names.h): two tables, so that one is read while the other is written.
 * A few hundred suffixes fill some pages only, which stay in a core's cache; a hash map misses it three times a lookup.
 */
BPF_F_TABLE("array", u32, struct suffix, suffixes, 2 * SUFFIX_SLOTS, BPF_F_MMAPABLE);

/* What DNS told each subscriber of an address. Full: the one that was not asked for the longest leaves, and its flows
 * hand a payload over. */
struct answer_key {
	u8 address[16]; /* IPv4 as ::ffff:a.b.c.d */
	u32 who;	/* asker() */
};
struct answer {
	u64 name; /* hash, as in struct named */
	u32 until_s;
	u16 app; /* NAMING_ASK: it goes by names of several applications */
	u16 pad;
};
BPF_TABLE("lru_hash", struct answer_key, struct answer, answers, SITE_SIZED);

/* QoS flows that containers measure. Written by the packet path, read once an interval. Full: the quietest leaves. */
BPF_TABLE("lru_hash", struct delay_key, struct delay, delays, 8192);

/* Downlink packets with a time stamp, until an uplink packet repeats it. Full: the oldest is never answered. */
struct stamp_key {
	u64 stamp;
	u32 session;
	u32 qfi;
};
BPF_TABLE("lru_hash", struct stamp_key, u64, stamps, 8192);

/* Packets on their way through the UPF, by a hash of what does not change on it. Full: the oldest is not timed. */
struct transit_sight {
	u64 at_ns;
	u32 role;
	u32 pad;
};
BPF_TABLE("lru_hash", u64, struct transit_sight, sights, 16384);

/* User data that passed in a tunnel, or in a capture outside of one, by the same hash, and in which. Full: the oldest
 * leaves, and what comes of it in another tunnel is counted again. */
struct leg_sight {
	u64 at_ns;
	u32 leg; /* hash of the tunnel's ends */
	u32 pad;
};
BPF_TABLE("lru_hash", u64, struct leg_sight, leg_sights, 32768);

/* Packets of a leg that had passed on another one, by flow number; where legs are flows of their own. Full: the
 * quietest leg is one of its own again. */
struct copies {
	u32 packets[2];
};
BPF_TABLE("lru_hash", u64, struct copies, copies, 4096);

/* Their delays by session. Full: the session that was not measured for the longest begins anew. */
BPF_TABLE("lru_hash", u32, struct transit, transits, 65536);

/* Delays by place, one copy for all CPUs: samples are rare. Mapped into user space, which reads what they grew by.
 * Place 0 is of all who have none of their own. */
BPF_F_TABLE("array", u32, struct delay_counts, delay_counts, SITE_SIZED, BPF_F_MMAPABLE);

/* Tunnels that their receiving end refused, for operational state. Full: the one that was refused longest ago leaves.
 */
BPF_TABLE("lru_hash", struct tunnel_key, struct tunnel_error, tunnel_errors, 4096);

/* Records to user space: of each kind, and so of one size, a ring for each CPU, because reserving room in a ring takes
 * its lock. Made by nf/kernel; a full one drops the record, which is counted. */
BPF_RINGBUF_OUTPUT(ring_shape, 1);
BPF_ARRAY_OF_MAPS(rings, "ring_shape", SNF_RING_KINDS *RINGS);

/* The ring of this CPU for records of a kind. */
static __always_inline void *ring_of(u32 kind)
{
	u32 at = kind * RINGS + (bpf_get_smp_processor_id() & (RINGS - 1));

	return rings.lookup(&at);
}

/* GTP-U paths between tunnel ends. Written by the packet path, read for operational state, and once an interval
 * for suspects. Full: the path that was silent longest leaves. */
BPF_TABLE("lru_hash", struct path_key, struct path, paths, 4096);

/* Echo requests that wait for their response, by path and sequence number, and when they passed. */
struct echo_key {
	struct path_key path;
	u32 seq;
};
BPF_TABLE("lru_hash", struct echo_key, u64, echoes, 8192);

/* Where inline ports send. Index: slot of the paired port; the last one is the monitor port. */
BPF_DEVMAP(tx_ports, SNF_MONITOR_PORT + 1);

/* One entry, written by user space; of a port that is tried the answer is written by loss.h. */
BPF_ARRAY(watch, struct watch, 1);

/* By the slot of the port that received the frames. Written by loss.h, read when user space looks after the pairs. */
BPF_ARRAY(refusals, struct refusal, SNF_STATS);

/* Second programs, entered by tail call, by enum snf_next. Those of each hook have a map of their own
 * (nf/kernel/programs.py): the kernel takes programs of one kind only. */
BPF_PROG_ARRAY(next_program, 13);

/* Never used: they carry the types of the ring records to user space. */
BPF_ARRAY(event_type, struct flow_event, 1);
BPF_ARRAY(payload_type, struct payload, 1);
BPF_ARRAY(chunk_type, struct chunk, 1);
BPF_ARRAY(named_type, struct named, 1);
BPF_ARRAY(ended_type, struct ended, 1);
BPF_ARRAY(evicted_type, struct evicted, 1);

#endif
