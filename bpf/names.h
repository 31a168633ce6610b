/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Host names: their bytes, their application by the longest suffix, and telling user space.
 *
 * A suffix is looked up by the FNV-1a hash (draft-eastlake-fnv) of its bytes from the last to the first, so that
 * one pass over a name meets all its suffixes, the shortest first.
 */
#ifndef SNF_NAMES_H
#define SNF_NAMES_H

#include "bytes.h"
#include "packet.h"

#define FNV_OFFSET	 0xcbf29ce484222325ULL
#define FNV_PRIME	 0x100000001b3ULL
#define MAX_EXTENSIONS	 TURNS(40) /* browsers send some 20, with GREASE */
#define SUFFIXES_AT_ONCE TURNS(8)  /* by one program, which enters itself for more */

/* Copy the s->name_length bytes at s->off, which may be followed by others. Returns 0 when not all of them are there.
 */
static __always_inline u32 take_name(void *data, void *end, struct scratch *s)
{
	u32 off = s->off, length = s->name_length;
	u64 i;
	u8 *h;

	if (!length || length > SNF_NAME)
		return 0;
	asm volatile("" : "+r"(length)); /* else the compiler drops the constant bound, which the verifier needs */
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_NAME; i += 8) {
		if (i >= length)
			return 1;
		h = bytes_at(data, end, off + (u32)i, 8);
		if (!h)
			break;
		*(u64 *)(s->name + i) = *(u64 *)h;
	}
#pragma clang loop unroll(disable)
	for (; i < SNF_NAME; i++) {
		if (i >= length)
			return 1;
		h = bytes_at(data, end, off + (u32)i, 1);
		if (!h)
			return 0;
		s->name[i & (SNF_NAME - 1)] = *h;
	}
	return 1;
}

/* Of a plain host name: bit n is character n, and of the second half of ASCII character 64 + n. */
#define NAME_MARKS    (1ull << '-' | 1ull << '.' | 0x3ffull << '0')
#define NAME_LETTERS  (NAME_CAPITALS | NAME_CAPITALS << 32 | 1ull << ('_' - 64))
#define NAME_CAPITALS (0x3ffffffull << ('A' - 64))

/* The next byte of s->name, in lower case. Straight code, for the verifier walks each way through a loop. */
static __always_inline u64 plain(struct scratch *s, u64 at, u64 c)
{
	u64 high = -(c >> 6 & 1), dot = ((c ^ '.') - 1) >> 63, odd;

	asm volatile("" : "+r"(high)); /* else the compiler makes branches of it */
	asm volatile("" : "+r"(dot));
	odd = ~((NAME_MARKS & ~high) | (NAME_LETTERS & high)) >> (c & 63);
	s->name_odd |= (odd & 1) | c >> 7 | (dot & ~(s->dots >> at));
	IN_MEMORY(s->suffixes) += dot;
	return c | ((NAME_CAPITALS & high) >> (c & 63) & 1) << 5;
}

/* Turn s->name to lower case and leave the hashes of its suffixes. Returns 0 when it holds what no plain name does. */
static __always_inline u32 hash_suffixes(struct scratch *s)
{
	u32 length = IN_MEMORY(s->name_length), last = length - 1;
	u64 hash = FNV_OFFSET, i;

	if (!length || length > SNF_NAME)
		return 0;
	asm volatile("" : "+r"(length)); /* else the compiler drops the constant bound, which the verifier needs */
	last &= SNF_NAME - 1;
	if (s->name[last] == '.')
		return 0;
	s->name_odd = 0;
	s->suffixes = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_NAME; i++) {
		u64 at = length - 1 - i, to = IN_MEMORY(s->suffixes) & (SNF_NAME - 1), c;

		if (i >= length)
			break;
		asm volatile("" : "+r"(at));
		at &= SNF_NAME - 1;
		s->suffix[to] = hash; /* one behind a dot stays, another is overwritten */
		c = plain(s, at, s->name[at]);
		s->name[at] = c;
		hash = (hash ^ c) * FNV_PRIME;
	}
	last = IN_MEMORY(s->suffixes) & (SNF_NAME - 1);
	s->suffix[last] = hash;
	s->suffixes = last + 1;
	s->name_hash = hash;
	s->name_app = 0;
	s->name_network = 0;
	return !s->name_odd;
}

/* Set s->name_app and return 1 when the suffix of this hash belongs to an application. */
static __always_inline u32 look_up(struct scratch *s, u64 table, u64 hash)
{
	u64 step = hash >> 32 | 1, i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_PROBES; i++) {
		u32 at = (table >> 32) + ((u32)(hash + i * step) & (u32)table);
		struct suffix *x = suffixes.lookup(&at);

		if (!x || !x->hash)
			return 0;
		if (x->hash == hash) {
			s->name_app = x->app;
			s->name_network = x->network;
			return 1;
		}
	}
	return 0;
}

/* Look some suffixes up, the longest of those that are left first. Returns 0 when there are more of them. */
static __always_inline u32 match(struct scratch *s, struct control *c)
{
	u64 table = c->suffixes, i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SUFFIXES_AT_ONCE; i++) {
		u32 at = IN_MEMORY(s->suffixes) - 1;

		if (at >= SNF_NAME)
			return 1;
		IN_MEMORY(s->suffixes) = at;
		asm volatile("" : "+r"(at));
		at &= SNF_NAME - 1;
		if (look_up(s, table, s->suffix[at]))
			return 1;
	}
	return !IN_MEMORY(s->suffixes);
}

/* Tell user space what the flow in s->fresh is. Returns 0 when the ring is full. */
static __always_inline u32 tell_name(struct scratch *s, struct port_stats *st)
{
	void *ring = ring_of(SNF_RING_NAMES);
	struct named *r = ring ? bpf_ringbuf_reserve(ring, sizeof(*r), 0) : NULL;

	if (!r) {
		st->n[SNF_C_name_ring_full]++;
		return 0;
	}
	r->number = s->fresh.number;
	r->hash = s->name_hash;
	r->app = s->name_app;
	r->basis = s->name_basis;
	r->length = s->name_length;
	r->place = s->place;
	r->key = s->key;
	__builtin_memcpy(r->name, s->name, SNF_NAME);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 1;
}

#endif
