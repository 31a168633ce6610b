/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Host names: taking one from a packet, its application by the longest suffix, and telling user space.
 *
 * A suffix is looked up by the FNV-1a hash (draft-eastlake-fnv) of its bytes from the last to the first, so that
 * one pass over a name meets all its suffixes, the shortest first.
 */
#ifndef SNF_NAMES_H
#define SNF_NAMES_H

#include "path.h"

#define NAME_REACH     4095 /* bytes into the frame; a mask, so that the verifier sees the bound */
#define FNV_OFFSET     0xcbf29ce484222325ULL
#define FNV_PRIME      0x100000001b3ULL
#define NO_LETTER      0
#define MAX_EXTENSIONS 40 /* browsers send some 20, with GREASE */

/* n bytes at an offset into the frame, or NULL when they are not there. */
static __always_inline u8 *bytes_at(void *data, void *end, u32 off, u32 n)
{
	u8 *h;

	if (off > NAME_REACH)
		return NULL;
	asm volatile("" : "+r"(off));
	off &= NAME_REACH;
	h = data + off;
	return (void *)h + n > end ? NULL : h;
}

/* A byte of a host name in lower case; NO_LETTER for what user space shall look at. */
static __always_inline u8 letter(u8 c)
{
	if ((u8)((c | 32) - 'a') < 26)
		return c | 32;
	if ((u8)(c - '0') < 10 || (u8)(c - '-') < 2 || c == '_')
		return c;
	return NO_LETTER;
}

static __always_inline void set_letter(struct scratch *s, u32 at, u8 c)
{
	asm volatile("" : "+r"(at));
	at &= SNF_NAME - 1;
	s->name[at] = c;
}

/* Set s->name_app when the suffix of this hash belongs to an application. */
static __always_inline void look_up(struct scratch *s, u64 table, u64 hash)
{
	u64 step = hash >> 32 | 1, i;

#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_PROBES; i++) {
		u32 at = (table >> 32) + ((u32)(hash + i * step) & (u32)table);
		struct suffix *x = suffixes.lookup(&at);

		if (!x || !x->hash)
			return;
		if (x->hash == hash) {
			KEEP(s->name_app) = x->app;
			KEEP(s->name_network) = x->network;
			return;
		}
	}
}

/* Turn s->name to lower case and look each suffix on a label boundary up: s->name_app is that of the longest one, 0
 * when there is none; s->name_hash that of the whole name. Returns 0 when it holds what no plain name does. */
static __always_inline u32 app_of_name(struct scratch *s)
{
	u32 zero = 0, length = KEEP(s->name_length);
	struct control *c = control.lookup(&zero);
	u64 hash, table, i;

	if (!c || !length || length > SNF_NAME)
		return 0;
	asm volatile("" : "+r"(length)); /* else the compiler drops the constant bound, which the verifier needs */
	KEEP(s->name_app) = 0;
	KEEP(s->name_network) = 0;
	KEEP(s->name_hash) = FNV_OFFSET;
	hash = KEEP(s->name_hash);
	table = c->suffixes;
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_NAME; i++) {
		u32 at = length - 1 - (u32)i;
		u8 c;

		if (i >= length)
			break;
		asm volatile("" : "+r"(at));
		at &= SNF_NAME - 1;
		c = letter(s->name[at]);
		if (c == NO_LETTER || (c == '.' && !i))
			return 0;
		s->name[at] = c;
		if (c == '.')
			look_up(s, table, hash);
		hash = (hash ^ c) * FNV_PRIME;
	}
	look_up(s, table, hash);
	s->name_hash = hash;
	return 1;
}

/* Tell user space what the flow in s->fresh is. Returns 0 when the ring is full. */
static __always_inline u32 tell_name(struct scratch *s, struct port_stats *st, u8 basis)
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
	r->basis = basis;
	r->length = s->name_length;
	r->pad = 0;
	r->key = s->key;
	__builtin_memcpy(r->name, s->name, SNF_NAME);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 1;
}

#endif
