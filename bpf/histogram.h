/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Delays, each counted in the bucket of its length: sixteen buckets a power of two of microseconds, so that percentiles
 * of any sum of counts are known to 3 % (feed/buckets.py counts the same way).
 *
 * A sample belongs to the place of its session, a number for gNB and slice that user space writes beside the session
 * (ENTRY_PLACE), or to that of the gNB alone. Whoever measures leaves the sample in the scratch map; all of a packet
 * are counted in one go, so that the session table is asked once, and by packets with a sample only.
 */
#ifndef SNF_HISTOGRAM_H
#define SNF_HISTOGRAM_H

#include "flow_table.h"
#include "session.h"

#define DELAY_LAST_US	((1 << 24) - 1) /* longer ones are in the last bucket, which it is in */
#define BUCKET_SUB_BITS 4

/* The five highest bits of a number are its bucket, 16 more for each bit below them. */
static __always_inline u64 bucket_of(u64 us)
{
	u64 shift = 0;
	u32 n;

	if (us > DELAY_LAST_US)
		us = DELAY_LAST_US;
#pragma unroll
	for (n = 16; n; n >>= 1) /* the largest shift that leaves as many bits as a bucket has, or 0 */
		shift += n * (opaque((1 << BUCKET_SUB_BITS) - 1 - (us >> shift >> n)) >> 63);
	return (shift << BUCKET_SUB_BITS) + (us >> shift);
}

static __always_inline void count_delay(struct delay_counts *counts, u32 measure, u64 us)
{
	u64 bucket = opaque(bucket_of(us));

	if (bucket < SNF_BUCKETS)
		__sync_fetch_and_add(&counts->n[measure * SNF_BUCKETS + bucket], 1);
}

/* A delay of the packet at hand; *us* as long as it fits, or any longer time. */
static __always_inline void delayed(struct scratch *s, u32 measure, u32 us)
{
	IN_MEMORY(s->delay_us[measure]) = us;
	IN_MEMORY(s->delayed) |= 1 << measure;
}

/* The place of a session, 0 without one. All of it goes through memory, so that the verifier goes through what follows
 * once. */
static __always_inline u32 place_of(struct scratch *s, struct control *c, u32 session)
{
	s->session_buckets = c->buckets;
	s->wanted.key = session;
	s->wanted.more = 0;
	s->wanted.head = ENTRY_PLACE;
	s->which = ENTRY_KIND;
	s->found.more = 0;
	find(s);
	FORGET();
	return IN_MEMORY(s->found.more);
}

/* Count what was measured of a packet of a session; of none, or of one that nobody placed, in place 0. */
static __always_inline void count_delays(struct scratch *s, struct control *c, u32 session)
{
	u32 place, measure;
	struct delay_counts *counts;

	place = place_of(s, c, session);
	counts = delay_counts.lookup(&place);
	if (!counts)
		return;
#pragma unroll
	for (measure = 0; measure < DELAY_N3_ECHO; measure++)
		if (IN_MEMORY(s->delayed) & 1 << measure)
			count_delay(counts, measure, IN_MEMORY(s->delay_us[measure]));
}

/* A GTP-U path answered an echo: where a gNB did, count it for its place. */
static __always_inline void echo_delayed(struct path_key *path, u32 us)
{
	u32 *endpoint = endpoints.lookup((struct address *)path->to), place;
	struct delay_counts *counts;

	if (!endpoint)
		return;
	place = *endpoint >> ENDPOINT_PLACE;
	if (!place)
		return;
	counts = delay_counts.lookup(&place);
	if (counts)
		count_delay(counts, DELAY_N3_ECHO, us);
}

#endif
