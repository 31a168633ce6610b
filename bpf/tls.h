/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The server name of a TLS ClientHello that begins in this segment (RFC 8446, 4.1.2; RFC 6066, 3). */
#ifndef SNF_TLS_H
#define SNF_TLS_H

#include "names.h"
#include "parse.h"

#define TLS_HANDSHAKE	 22
#define TLS_CLIENT_HELLO 1
#define TLS_SERVER_NAME	 0

/* Does the payload begin as a ClientHello does? */
static __always_inline u32 is_hello(void *data, void *end, struct scratch *s)
{
	u8 *h;

	if (s->inner.proto != PROTO_TCP || s->payload_length < 48)
		return 0;
	h = bytes_at(data, end, s->payload_off, 6);
	return h && h[0] == TLS_HANDSHAKE && h[1] == 3 && h[5] == TLS_CLIENT_HELLO;
}

/* s->off at the first extension, which end at s->gtpu_end. Leaves s->off at the server name and its length. */
static __always_inline u32 find_server_name(void *data, void *end, struct scratch *s)
{
	u32 off, length, last = s->gtpu_end;
	u64 i;
	u8 *h;

#pragma clang loop unroll(disable)
	for (i = 0; i < MAX_EXTENSIONS; i++) {
		off = IN_MEMORY(s->off);
		if (off + 4 > last)
			return 0;
		h = bytes_at(data, end, off, 4);
		if (!h)
			return 0;
		length = load16(h + 2);
		if (off + 4 + length > last)
			return 0;
		if (load16(h) == TLS_SERVER_NAME) {
			h = bytes_at(data, end, off + 4, 5);
			if (!h || h[2]) /* the only type is host_name */
				return 0;
			s->name_length = load16(h + 3);
			if (s->name_length + 5 > length || load16(h) + 2 != length)
				return 0;
			s->off = off + 9;
			return 1;
		}
		IN_MEMORY(s->off) = off + 4 + length;
	}
	return 0;
}

/* Returns 1 with the name in s->name when the hello has one that is here. */
static __always_inline u32 server_name(void *data, void *end, struct scratch *s)
{
	u32 off = s->payload_off, hello_end, here;
	u8 *h = bytes_at(data, end, off, 44);

	if (!h || h[9] != 3)
		return 0;
	here = off + 5 + load16(h + 3); /* of the first record; another one's header may follow amid the hello */
	if (here > off + s->payload_length)
		here = off + s->payload_length; /* behind it: padding, trailers, checksums */
	hello_end = off + 9 + ((u32)h[6] << 16 | load16(h + 7));
	off += 44 + h[43]; /* session */
	h = bytes_at(data, end, off, 2);
	if (!h)
		return 0;
	off += 2 + load16(h); /* cipher suites */
	h = bytes_at(data, end, off, 1);
	if (!h)
		return 0;
	off += 1 + h[0]; /* compression methods */
	h = bytes_at(data, end, off, 2);
	if (!h)
		return 0;
	off += 2;
	if (off + load16(h) != hello_end)
		return 0;
	s->off = off;
	s->gtpu_end = hello_end;
	if (!find_server_name(data, end, s) || s->off + s->name_length > here)
		return 0;
	s->dots = ~0ull;
	return take_name(data, end, s);
}

#endif
