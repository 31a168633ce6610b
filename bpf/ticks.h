/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The clock of a sender by the gaps between its packets, and round trips by packets that come back. A game sends each
 * so many milliseconds, so the median of its gaps is its tick, and a far longer gap is a spike.
 *
 * A request and its echo begin alike (a sequence number, a time stamp): one packet of a direction is awaited at a time,
 * and one whose first bytes are those of the packet before is none, because they tell nothing of which it is. Few of a
 * game's packets are requests, and these are short and of one length: packets of a length that an echo had are awaited
 * before others, and until one had, the shortest of a while. An answer may be answered in turn, with the same first
 * bytes: it is awaited as long as nothing else is.
 */
#ifndef SNF_TICKS_H
#define SNF_TICKS_H

#include "bytes.h"
#include "clock.h"

#define TICK_FIRST   16 /* gaps near the median after which it is known: */
#define TICK_QUICK   2	/* until then it moves by a quarter of itself, */
#define TICK_SLOW    5	/* then by a thirty-second (bits) */
#define TICK_NEAR    2	/* bits: gaps within a quarter of the median are ticks */
#define SPIKE_TIMES  3
#define SPIKE_US     100000 /* a gap of three ticks, and of this, is a spike that a player notices */
#define ECHO_BYTES   8
#define ECHO_MOST_US 1000000 /* a later one is of another packet */
#define ECHO_HELD_US 400000  /* so long one is awaited while others could be: G.1072 ends there. Each fourth, longer */
#define ECHO_ANSWER  0xffff  /* in place of a length: what is awaited is an answer to an answer */
#define ECHO_MARK    0x9E3779B97F4A7C15ULL /* 2^64 over the golden ratio (Knuth, multiplicative hashing) */

static __always_inline void count_tick(struct ticks *t, u32 gap)
{
	u32 step = t->us >> (t->n < TICK_FIRST ? TICK_QUICK : TICK_SLOW), most = t->us * SPIKE_TIMES, off;

	if (!t->us) {
		t->us = nonzero(gap);
		return;
	}
	if (most < SPIKE_US)
		most = SPIKE_US;
	if (gap > most) {
		t->spikes++;
		t->spike_ms += gap / 1000;
	}
	off = gap > t->us ? gap - t->us : t->us - gap;
	if (off <= t->us >> TICK_NEAR) {
		t->n++;
		t->sum_us += gap;
	}
	if (gap > t->us)
		t->us += step + 1;
	else if (gap < t->us)
		t->us -= step;
	if (!t->us)
		t->us = 1;
}

/* Say if a packet of this length is awaited now, in place of the one that is. */
static __always_inline u32 takes_over(const struct echoes *mine, u32 length, u32 now_us)
{
	u32 most = mine->probe & 3 ? ECHO_HELD_US : ECHO_MOST_US;

	if (!mine->probe_us || now_us - mine->probe_us > most)
		return 1;
	if (mine->echo_length)
		return length == mine->echo_length && mine->probe_length != mine->echo_length;
	return length < mine->probe_length;
}

/* A packet of direction `way` with these first bytes: the echo of what the other direction sent, and a probe itself. */
static __always_inline void count_echo(struct echoes *mine, struct echoes *other, u64 begin, u32 length, u32 now_us)
{
	u32 us = now_us - other->probe_us, mark = begin * ECHO_MARK >> 32, length_of = other->probe_length;

	if (other->probe_us && other->probe == mark) {
		if (us <= ECHO_MOST_US) {
			other->n++;
			other->sum_us += us;
			if (!other->min_us || us < other->min_us)
				other->min_us = nonzero(us);
		}
		if (us <= ECHO_MOST_US && length_of != ECHO_ANSWER) {
			other->echo_length = length_of;
			if (!mine->echo_length)
				mine->echo_length = length_of;
		}
		other->probe_us = 0;
		if (length_of != ECHO_ANSWER && (!mine->probe_us || now_us - mine->probe_us > ECHO_HELD_US)) {
			mine->probe = mark;
			mine->probe_us = nonzero(now_us);
			mine->probe_length = ECHO_ANSWER;
		}
	} else if (mine->last == mark) {
		if (mine->probe == mark)
			mine->probe_us = 0;
	} else if (takes_over(mine, length, now_us)) {
		mine->probe = mark;
		mine->probe_us = nonzero(now_us);
		mine->probe_length = length;
	}
	mine->last = mark;
}

#endif
