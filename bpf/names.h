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
	if (c >= 'A' && c <= 'Z')
		return c + 32;
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_')
		return c;
	return NO_LETTER;
}

static __always_inline void set_letter(struct scratch *s, u32 at, u8 c)
{
	asm volatile("" : "+r"(at));
	at &= SNF_NAME - 1;
	s->name[at] = c;
}

/* Look up each suffix of s->name on a label boundary: s->name_app is that of the longest one, 0 when there is none;
 * s->name_hash that of the whole name. */
static __always_inline void app_of_name(struct scratch *s)
{
	u32 length = s->name_length;
	u64 hash = FNV_OFFSET, i;
	u16 *app;

	s->name_app = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_NAME; i++) {
		u32 at = length - 1 - (u32)i;
		u8 c;

		if (i >= length)
			break;
		asm volatile("" : "+r"(at));
		at &= SNF_NAME - 1;
		c = s->name[at];
		if (c == '.') {
			app = suffixes.lookup(&hash);
			if (app)
				s->name_app = *app;
		}
		hash = (hash ^ c) * FNV_PRIME;
	}
	app = suffixes.lookup(&hash);
	if (app)
		s->name_app = *app;
	s->name_hash = hash;
}

/* Tell user space what the flow in s->fresh is. Returns 0 when the ring is full. */
static __always_inline u32 tell_name(struct scratch *s, struct port_stats *st, u8 basis)
{
	struct named *r = names.ringbuf_reserve(sizeof(*r));

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
	__builtin_memcpy(r->name, s->name, SNF_NAME);
	names.ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 1;
}

#endif
