/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Hashes of words and addresses, for keys and tags. They are not secret. */
#ifndef SNF_HASH_H
#define SNF_HASH_H

#include "inline.h"

#define GOLDEN 0x9e3779b1 /* 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4) */

static __always_inline u32 mix(u32 h, u32 v)
{
	h ^= v;
	h *= 0x9e3779b1; /* 2^32 divided by the golden ratio: spreads neighbours (Knuth, TAOCP 3, 6.4) */
	return h ^ h >> 15;
}

static __always_inline u32 fold(const u8 *address)
{
	const u32 *w = (const u32 *)address;

	return mix(mix(mix(mix(0, w[0]), w[1]), w[2]), w[3]);
}

#endif
