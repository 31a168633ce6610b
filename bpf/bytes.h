/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Bytes of the frame, at an offset and in network order. */
#ifndef SNF_BYTES_H
#define SNF_BYTES_H

#include "inline.h"

#define MAX_OFFSET 1023 /* of a header; a mask, so that the verifier sees the bound */
#define NAME_REACH 4095 /* bytes into the frame; a mask, so that the verifier sees the bound */

/* Headers lie at any offset; x86 and arm64 load from any. */
static __always_inline u16 load16(const void *p)
{
	return bpf_ntohs(*(const u16 *)p);
}

static __always_inline u32 load32(const void *p)
{
	return bpf_ntohl(*(const u32 *)p);
}

static __always_inline u64 load64(const u8 *h)
{
	return (u64)load32(h) << 32 | load32(h + 4);
}

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

#endif
