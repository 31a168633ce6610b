/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The same user data in several tunnels: N3 and N9, or S1-U and S5. It is counted for the subscriber in the tunnel
 * where it passed first; where legs are flows of their own (replay), each has its counts, and what of them are copies.
 */
#ifndef SNF_COPIES_H
#define SNF_COPIES_H

#include "transit.h"

#define LEG_MAX_NS 1000000000 /* the same bytes later than this were sent again */

static __always_inline u32 leg_of(struct scratch *s)
{
	return mix(mix(0, fold(s->outer.src)), fold(s->outer.dst));
}

/* Did this packet pass in another tunnel a moment ago? */
static __always_inline u32 passed_before(struct scratch *s, struct control *c)
{
	struct leg_sight new = {}, *old;
	u64 hash;

	fine_clock(s, c);
	full_addresses(&s->outer);
	hash = (u64)packet_hash(s, 0x85ebca6b) << 32 | packet_hash(s, 0x27d4eb2f);
	if (s->gtpu == IN_LINE) /* what goes to one line is no copy of what came from another */
		hash ^= s->side + 1;
	new.at_ns = s->now_ns;
	new.leg = s->gtpu ? leg_of(s) : 0;
	old = leg_sights.lookup(&hash);
	if (old && old->leg != new.leg && s->now_ns - old->at_ns < LEG_MAX_NS)
		return 1;
	leg_sights.update(&hash, &new);
	return 0;
}

static __always_inline void count_copy(struct flow *f, u32 d)
{
	u64 number = f->number;
	struct copies new = {}, *n = copies.lookup(&number);

	if (!n) {
		copies.insert(&number, &new);
		n = copies.lookup(&number);
		if (!n)
			return;
	}
	n->packets[d & 1]++;
}

#endif
