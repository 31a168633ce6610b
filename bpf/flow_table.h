/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The flow table. A flow is in one of the two buckets that the hash of its key says, in the second one where that is
 * emptier and the first nearly full, and never moves, so that a reader needs no lock. The tag of its place says what it
 * is:
 *
 *     FLOW_FREE --claim--> FLOW_CLAIMED --publish--> FLOW_READY --leave--> FLOW_HELD --user space--> FLOW_FREE
 *
 * CPUs claim with compare-and-exchange. Who leaves a place to nobody else than user space, which has to wait until no
 * packet can be counting in it, needs no more than a store. Counts of a held place are read once more: none is lost.
 */
#ifndef SNF_FLOW_TABLE_H
#define SNF_FLOW_TABLE_H

#include "hash.h"
#include "packet.h"

#define GOLDEN_64     0x9e3779b97f4a7c15ull /* 2^64 divided by the golden ratio, as GOLDEN */
#define INSERT_TURNS  TURNS(4)
#define PAUSE_TURNS   TURNS(64) /* longer than a CPU takes to write a flow that it claimed */
#define SPARE_PLACES  4		/* of the two buckets of a flow: below that one is evicted, before somebody needs it */
#define ROOMY	      (4 << 8)	/* a first bucket with so many free places takes a flow, so that most are found there */
#define SURVEY_ROOM   0xff00
#define SURVEY_SAME   0xff0000
#define SURVEY_A_SAME 0x10000

/* The compiler does not know what x is, so it makes no branch of what follows from it. */
static __always_inline u64 opaque(u64 x)
{
	asm volatile("" : "+r"(x));
	return x;
}

/* The number of a place in a bucket, of which the verifier then knows that it is below 16: what it would learn of a
 * comparison it forgets, because that is one of 64 bits here, and it is older than the value. */
static __always_inline u64 bounded(u64 at)
{
	return opaque(at) & 15;
}

/* 1 when x, of 32 bits, is zero. */
static __always_inline u64 is_zero(u64 x)
{
	return opaque((opaque(x) - 1) >> 63);
}

/* 1 when x, of 64 bits, is zero (Warren, Hacker's Delight, 2-12). */
static __always_inline u64 is_zero_64(u64 x)
{
	x = opaque(x);
	return opaque((~x & (x - 1)) >> 63);
}

/*
 * Buckets and tag of s->key. The hash is strongly universal in its upper half (multilinear: Lemire and Kaser, Strongly
 * universal string hashing is fast, 2014), so whoever does not know its numbers cannot aim.
 */
static __always_inline void hash_flow(struct scratch *s, struct control *c)
{
	const u32 *w = (const u32 *)&s->key;
	u64 h = c->flow_hash[0] + w[0] * c->flow_hash[1] + w[1] * c->flow_hash[2] + w[2] * c->flow_hash[3] +
		w[3] * c->flow_hash[4];

	s->flow_tag = h >> 32 | FLOW_READY;
	h = (h ^ h >> 32) * GOLDEN_64;
	s->flow_bucket[0] = (h >> 32) * c->flow_buckets >> 32;
	h = (h ^ h >> 32) * GOLDEN_64;
	s->flow_bucket[1] = (h >> 32) * c->flow_buckets >> 32;
}

/* The number of the tag in a bucket, from 1; 0 when there is none. Straight code, without a branch to guess. */
static __always_inline u64 find_tag(struct flow_bucket *b, u32 tag)
{
	u64 at = 0, n;

#pragma unroll
	for (n = 0; n < SNF_FLOWS; n++)
		at += is_zero(b->tags[n] ^ tag) * (n + 1);
	return at;
}

/* Leave in s->place that of s->key in one of its buckets. */
static __always_inline void look_into(struct scratch *s, struct control *c, u32 bucket)
{
	struct flow_bucket *b = flow_buckets.lookup(&bucket);
	const u64 *wanted = (const u64 *)&s->key, *key;
	u64 at, n, found;
	u8 epoch = c->epoch;

	if (!b)
		return;
	at = find_tag(b, s->flow_tag);
	n = bounded(at - 1); /* of no tag the last, where there is no key */
	key = (const u64 *)&b->keys[n];
	found = is_zero_64((key[0] ^ wanted[0]) | (key[1] ^ wanted[1])) & (n - SNF_FLOWS) >> 63;
	if (!found) /* a branch: a core that guesses it fetches the state while it waits for the key */
		return;
	IN_MEMORY(s->place) = bucket * SNF_FLOWS + n;
	if (b->moved[n] != epoch)
		b->moved[n] = epoch;
}

/* The state at s->place. */
static __always_inline struct flow *flow_there(struct scratch *s)
{
	u32 place = s->place;

	return flows.lookup(&place);
}

/* The flow of s->key, of which the hash is known; NULL when the table has none. */
static __always_inline struct flow *find_flow(struct scratch *s, struct control *c)
{
	IN_MEMORY(s->place) = NO_PLACE;
	look_into(s, c, s->flow_bucket[0]);
	if (IN_MEMORY(s->place) == NO_PLACE)
		look_into(s, c, s->flow_bucket[1]);
	return flow_there(s);
}

/* How many of 16 bits are set (Warren, Hacker's Delight, 5-1). */
static __always_inline u32 bits_of(u32 x)
{
	x -= x >> 1 & 0x5555;
	x = (x & 0x3333) + (x >> 2 & 0x3333);
	x = x + (x >> 4) & 0x0f0f;
	return x + (x >> 8) & 0x1f;
}

/* What a bucket has for s->key, in bytes: the number of a free place, from 0; how many are free; and how many have the
 * tag, or will have it. */
static __always_inline u32 survey(struct scratch *s, u32 bucket)
{
	struct flow_bucket *b = flow_buckets.lookup(&bucket);
	u64 free = 0, same = 0, n;

	if (!b)
		return 0;
#pragma unroll
	for (n = 0; n < SNF_FLOWS; n++) {
		u64 tag = IN_MEMORY(b->tags[n]);

		free |= is_zero(tag) << n;
		same += is_zero((tag | FLOW_READY - FLOW_CLAIMED) ^ s->flow_tag);
	}
	return same << 16 | bits_of(free) << 8 | bits_of((free & -free) - 1 & 0xffff);
}

static __always_inline u32 tags_alike(u32 first, u32 second)
{
	return (first & SURVEY_SAME) + (second & SURVEY_SAME);
}

static __always_inline u32 same_bucket(struct scratch *s)
{
	return s->flow_bucket[0] == s->flow_bucket[1];
}

/* Two tags are a word of an atomic operation, because bcc has those of 64 bits only; which half is tag n? */
static __always_inline u64 *tag_word(struct flow_bucket *b, u64 n)
{
	return (u64 *)&b->tags[n & 14];
}

static __always_inline u32 tag_shift(u64 n)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 32 * (n & 1) : 32 * (~n & 1);
}

/* Put a tag in the place of *old*, unless that or its neighbour changed meanwhile. Returns 1 when it is there. */
static __always_inline u32 change_tag(struct flow_bucket *b, u64 n, u64 old, u64 tag)
{
	u64 *word = tag_word(b, n), was = IN_MEMORY(*word);

	if ((u32)(was >> tag_shift(n)) != old)
		return 0;
	return __sync_val_compare_and_swap(word, was, was ^ (old ^ tag) << tag_shift(n)) == was;
}

/* Write s->fresh into a place that this CPU claimed, and show it to all: one more makes a claimed tag one that is
 * ready. The addition is a barrier because its value is used. */
static __always_inline void publish_flow(struct scratch *s, struct control *c, struct flow_bucket *b, u64 at)
{
	struct flow *f = flow_there(s);

	if (!f)
		return;
	__builtin_memcpy(f, &s->fresh, sizeof(*f));
	b->keys[at] = s->key;
	b->moved[at] = c->epoch;
	IN_MEMORY(s->longest) = __sync_fetch_and_add(tag_word(b, at), 1ull << tag_shift(at));
}

/* Try to put s->fresh into a bucket at a place that was free; s->place is NO_PLACE when another CPU came first. */
static __always_inline void claim(struct scratch *s, struct control *c, u32 bucket, u64 at)
{
	struct flow_bucket *b = flow_buckets.lookup(&bucket);
	u32 alone = same_bucket(s) ? 2 * SURVEY_A_SAME : SURVEY_A_SAME;
	u64 claimed = s->flow_tag - 1;

	at = bounded(at);
	IN_MEMORY(s->place) = NO_PLACE;
	if (!b || at >= SNF_FLOWS || !change_tag(b, at, FLOW_FREE, claimed))
		return;
	/* Two CPUs that claimed a place each for one flow see each other here, or the later one sees the other. */
	if (tags_alike(survey(s, s->flow_bucket[0]), survey(s, s->flow_bucket[1])) > alone) {
		__sync_fetch_and_add(tag_word(b, at), -(claimed << tag_shift(at)));
		return;
	}
	IN_MEMORY(s->place) = bucket * SNF_FLOWS + at;
	publish_flow(s, c, b, at);
}

/* How long ago in us; another CPU may have counted a moment after this one looked at the clock. */
static __always_inline u32 ago_us(struct scratch *s, u32 last_us)
{
	u32 us = s->now_us - last_us;

	return us >> 31 ? 0 : us;
}

/* How long the flow of a place has been silent, in us from 1; 0 when it may not leave. */
static __always_inline u32 silent_us(struct scratch *s, u32 tag, u32 place)
{
	struct flow *f = flows.lookup(&place);
	u32 a, b;

	if (!f || (tag & FLOW_STATE) != FLOW_READY)
		return 0;
	a = f->packets[0] ? ago_us(s, f->last_us[0]) : ~0u;
	b = f->packets[1] ? ago_us(s, f->last_us[1]) : ~0u;
	a = a < b ? a : b;
	return a + 1; /* of a flow that has just begun 0 */
}

/* Hold the longest silent flow of the first bucket, when user space will hear of it. */
static __always_inline void evict(struct scratch *s, struct port_stats *st)
{
	u32 bucket = s->flow_bucket[0], tag;
	struct flow_bucket *b = flow_buckets.lookup(&bucket);
	void *ring = ring_of(SNF_RING_EVICTED);
	struct evicted *e;
	u64 n, longest;

	if (!b || !ring)
		return;
	IN_MEMORY(s->silent_us) = 0;
	IN_MEMORY(s->longest) = SNF_FLOWS;
#pragma clang loop unroll(disable)
	for (n = 0; n < SNF_FLOWS; n++) {
		u32 us = silent_us(s, b->tags[n], bucket * SNF_FLOWS + n);

		if (us > IN_MEMORY(s->silent_us)) {
			IN_MEMORY(s->silent_us) = us;
			IN_MEMORY(s->longest) = n;
		}
	}
	longest = bounded(IN_MEMORY(s->longest));
	if (longest >= SNF_FLOWS)
		return;
	e = bpf_ringbuf_reserve(ring, sizeof(*e), 0);
	if (!e)
		return;
	tag = IN_MEMORY(b->tags[longest]);
	e->place = bucket * SNF_FLOWS + longest;
	e->pad = 0;
	if ((tag & FLOW_STATE) == FLOW_READY && change_tag(b, longest, tag, FLOW_HELD))
		st->n[SNF_C_flow_evicted]++;
	else
		e->place = NO_PLACE;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

/* Give another CPU the time to write a flow. */
static __always_inline void pause_a_moment(struct scratch *s)
{
	u64 n;

#pragma clang loop unroll(disable)
	for (n = 0; n < PAUSE_TURNS; n++)
		IN_MEMORY(s->longest) = n;
}

/* Put s->fresh into the table, or find the flow when another CPU began it meanwhile; NULL when there is no room. */
static __always_inline struct flow *insert_flow(struct scratch *s, struct control *c, struct port_stats *st)
{
	u32 first, second, room = 0;
	u64 turn;

	IN_MEMORY(s->place) = NO_PLACE;
#pragma clang loop unroll(disable)
	for (turn = 0; turn < INSERT_TURNS; turn++) {
		first = survey(s, s->flow_bucket[0]);
		second = survey(s, s->flow_bucket[1]);
		room = (first & SURVEY_ROOM) + (second & SURVEY_ROOM);
		if (tags_alike(first, second)) {
			pause_a_moment(s);
			find_flow(s, c);
		} else if (!room) {
			break;
		} else if ((first & SURVEY_ROOM) < ROOMY && (second & SURVEY_ROOM) > (first & SURVEY_ROOM)) {
			claim(s, c, s->flow_bucket[1], second & 0xff);
		} else {
			claim(s, c, s->flow_bucket[0], first & 0xff);
		}
		if (IN_MEMORY(s->place) != NO_PLACE)
			break;
	}
	if (room >> 8 <= SPARE_PLACES)
		evict(s, st);
	return flow_there(s);
}

#endif
