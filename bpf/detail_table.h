/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The details of media flows, in sets as a processor's cache has them: the number of a flow says its set, where it has
 * one of a few places, and one line tells which. A flow that has none is given one by whoever has the set's `busy`, so
 * that two CPUs with a packet of one flow each do not give it two. It is a place that is free, or that of the flow that
 * was quiet for the longest; one that had a packet in this interval or in the one before stays, because user space has
 * not read all of it yet, and because two flows that take turns would tell nothing of either.
 *
 * Nobody waits for a packet that is still counting in a place when it gets another flow: after a whole quiet interval
 * it would have to come in that very moment, and what it counts is a packet of the other flow then.
 */
#ifndef SNF_DETAIL_TABLE_H
#define SNF_DETAIL_TABLE_H

#include "flow_table.h"

#define QUIET_LEAST    2 /* intervals since the last packet of a flow that may leave: this one and that before do not */
#define LATE	       10 /* payload packets before a detail: the server's hello is in an initial window (RFC 6928) */
#define GIVE_TURNS     TURNS(4)
#define DETAIL_REFUSED (SNF_DETAILS + 1)					    /* instead of a place, from 1 */
#define DETAIL_BUSY    (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 1ull << 56 : 1) /* in the word of the marks */

/* The set of a flow, by the universal hash of hash_flow(): whoever does not know its numbers cannot aim. */
static __always_inline u32 detail_set_of(struct control *c, u64 number)
{
	u64 h = c->flow_hash[0] + (u32)number * c->flow_hash[1] + (number >> 32) * c->flow_hash[2];

	return (h >> 32) * c->detail_sets >> 32;
}

/* The place of a flow in its set, from 1; 0: it has none. */
static __always_inline u32 find_detail(struct detail_set *set, u64 number)
{
	u64 at = 0, n;

#pragma unroll
	for (n = 0; n < SNF_DETAILS; n++)
		at += is_zero_64(IN_MEMORY(set->numbers[n]) ^ number) * (n + 1);
	return at;
}

/* The place that is free, or was quiet for the longest, from 0; and above its three bits for how many intervals. */
static __always_inline u64 quietest(struct detail_set *set, u32 epoch)
{
	u64 most = 0, n;

#pragma unroll
	for (n = 0; n < SNF_DETAILS; n++) {
		u64 quiet = is_zero_64(set->numbers[n]) << 8 | (epoch - set->moved[n] & 0xff);

		quiet = quiet << 3 | n;
		most += (quiet - most) * (opaque(most - quiet) >> 63);
	}
	return most;
}

/* Write zeros into a place, and show it to all as that of a flow. The addition is a barrier because its value is used.
 * Returns the place, from 1. */
static __always_inline u32 begin_detail(struct scratch *s, struct control *c, struct port_stats *st,
					struct detail_set *set, u32 which, struct flow *f)
{
	u64 most = quietest(set, c->epoch), n = most & 7;
	u32 at = which * SNF_DETAILS + n;
	struct detail *e = details.lookup(&at);

	if (!e || most >> 3 < QUIET_LEAST)
		return DETAIL_REFUSED;
	if (set->numbers[n])
		st->n[SNF_C_detail_evicted]++;
	IN_MEMORY(set->numbers[n]) = 0;
	FORGET();
	__builtin_memset(e, 0, sizeof(*e));
	e->begun_us = s->now_us;
	if (f->payload_packets[0] + f->payload_packets[1] > LATE)
		e->flags = DETAIL_LATE;
	set->moved[n] = c->epoch;
	IN_MEMORY(s->longest) = __sync_fetch_and_add(&set->numbers[n], f->number);
	return n + 1;
}

/* Give a flow a place in its set. Returns it, from 1; 0 when another CPU wrote there at the same moment. */
static __always_inline u32 give_detail(struct scratch *s, struct control *c, struct port_stats *st,
				       struct detail_set *set, u32 which, struct flow *f)
{
	u64 *marks = (u64 *)set->moved, was = IN_MEMORY(*marks) & ~DETAIL_BUSY;
	u32 at;

	if (__sync_val_compare_and_swap(marks, was, was | DETAIL_BUSY) != was)
		return 0;
	at = find_detail(set, f->number);
	if (!at)
		at = begin_detail(s, c, st, set, which, f);
	IN_MEMORY(set->busy) = 0;
	return at;
}

/* The detail of a flow; NULL when there is no place for it. */
static __always_inline struct detail *detail_of(struct scratch *s, struct control *c, struct flow *f,
						struct port_stats *st)
{
	u64 number = f->number, turn;
	u32 which = detail_set_of(c, number), at;
	struct detail_set *set = detail_sets.lookup(&which);
	u8 epoch = c->epoch;

	if (!set)
		return NULL;
	IN_MEMORY(s->detail) = find_detail(set, number);
#pragma clang loop unroll(disable)
	for (turn = 0; turn < GIVE_TURNS; turn++) {
		if (IN_MEMORY(s->detail))
			break;
		IN_MEMORY(s->detail) = give_detail(s, c, st, set, which, f);
		if (!IN_MEMORY(s->detail))
			pause_a_moment(s);
	}
	at = bounded(IN_MEMORY(s->detail) - 1) & 7;
	if (at >= SNF_DETAILS) { /* refused, or others wrote at each turn */
		st->n[SNF_C_detail_full]++;
		return NULL;
	}
	if (set->moved[at] != epoch)
		set->moved[at] = epoch;
	at += which * SNF_DETAILS;
	return details.lookup(&at);
}

#endif
