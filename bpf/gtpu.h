/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* GTP-U (TS 29.281, clause 5) and the PDU Session Container (TS 38.415, clause 5.5.2). */
#ifndef SNF_GTPU_H
#define SNF_GTPU_H

#include "parse.h"
#include "psc.h"

#define GTPU_PORT	    2152
#define GTPU_MAX_EXTENSIONS TURNS(8)
#define GTPU_PSC	    0x85

#define GTPU_ECHO_REQUEST     1
#define GTPU_ECHO_RESPONSE    2
#define GTPU_ERROR_INDICATION 26
#define GTPU_EXT_NOTIFICATION 31
#define GTPU_TUNNEL_STATUS    253
#define GTPU_END_MARKER	      254
#define GTPU_GPDU	      255

static __always_inline u32 gtpu_type_counter(u8 type)
{
	switch (type) {
	case GTPU_GPDU:
		return SNF_C_gtpu_gpdu;
	case GTPU_ECHO_REQUEST:
		return SNF_C_gtpu_echo_request;
	case GTPU_ECHO_RESPONSE:
		return SNF_C_gtpu_echo_response;
	case GTPU_ERROR_INDICATION:
		return SNF_C_gtpu_error_indication;
	case GTPU_EXT_NOTIFICATION:
		return SNF_C_gtpu_ext_notification;
	case GTPU_TUNNEL_STATUS:
		return SNF_C_gtpu_tunnel_status;
	case GTPU_END_MARKER:
		return SNF_C_gtpu_end_marker;
	}
	return SNF_C_gtpu_other;
}

/* Is the datagram at this offset an answer to who asked from another port than 2152? The asker chooses its port (TS
 * 29.281, 4.4.2.2), and an end that knows a tunnel no more answers to the port that the user data came from. */
static __always_inline u32 is_gtpu_answer(void *data, void *end, u32 udp)
{
	u8 *h = data + (udp & MAX_OFFSET);

	if ((void *)h + 10 > end || h[8] >> 4 != 3) /* version 1, protocol type GTP */
		return 0;
	return h[9] == GTPU_ECHO_RESPONSE || h[9] == GTPU_ERROR_INDICATION || h[9] == GTPU_EXT_NOTIFICATION;
}

/* Is this counter one of a message type? */
static __always_inline u32 is_message(u32 counter)
{
	return counter >= SNF_C_gtpu_echo_request && counter <= SNF_C_gtpu_other;
}

/* The chain behind the optional fields: s->off at the first extension header, `type` its type.
 * Returns 0, or the counter that says what is wrong. */
static __always_inline u32 gtpu_extensions(void *data, void *end, struct scratch *s, u8 type)
{
	u32 off = s->off, length;
	u64 i;
	u8 *h;

#pragma clang loop unroll(disable)
	for (i = 0; i <= GTPU_MAX_EXTENSIONS; i++) {
		if (!type)
			break;
		if (i == GTPU_MAX_EXTENSIONS || off > MAX_OFFSET)
			return SNF_C_gtpu_ext_too_long;
		h = data + (off & MAX_OFFSET);
		if ((void *)h + 4 > end)
			return SNF_C_gtpu_truncated;
		length = (u32)h[0] * 4;
		if (!length || off + length > s->gtpu_end)
			return SNF_C_gtpu_ext_malformed;
		if (type == GTPU_PSC) {
			u8 pdu = h[1] >> 4;

			if (pdu < 2) { /* others are reserved */
				s->qfi = h[2] & 0x3f;
				s->side = pdu ? SNF_UPLINK : SNF_DOWNLINK;
				s->psc = psc_measures(pdu, h[1], h[2]);
				s->psc_first = h[1];
				s->psc_second = h[2];
				s->psc_at = off + 3;
				s->psc_end = off + length - 1;
			}
		}
		off += length;
		if (off > MAX_OFFSET)
			return SNF_C_gtpu_ext_too_long;
		h = data + ((off - 1) & MAX_OFFSET); /* the type of the next one is the last octet */
		if ((void *)h + 1 > end)
			return SNF_C_gtpu_truncated;
		type = *h;
	}
	s->off = off;
	return 0;
}

/* s->off at the UDP header of a datagram to port 2152. Returns the counter of the message type with
 * s->off at what it carries, or the counter that says what is wrong. */
static __always_inline u32 parse_gtpu(void *data, void *end, struct scratch *s)
{
	u32 off = s->off, udp_length, length, why;
	u8 *h, flags, type, next = 0;

	if (off > MAX_OFFSET)
		return SNF_C_gtpu_truncated;
	asm volatile("" : "+r"(off)); /* else another pointer is checked than the one that is read */
	off &= MAX_OFFSET;
	h = data + off;
	if ((void *)h + 16 > end)
		return SNF_C_gtpu_truncated;
	udp_length = load16(h + 4);
	flags = h[8];
	type = h[9];
	if (flags >> 5 != 1 || !(flags & 0x10))
		return SNF_C_gtpu_version;
	length = load16(h + 10);
	if (!udp_length) /* too long for the field, as that of its IP packet (RFC 2675, 4) */
		udp_length = s->outer.end - off;
	/* The first fragment of a datagram has the length of the whole. */
	if (udp_length < 16 + length || (!s->outer.fragment && off + udp_length > s->outer.end))
		return SNF_C_gtpu_length;
	s->teid = load32(h + 12);
	s->gtpu_end = off + 16 + length;
	off += 16;
	if (flags & 7) {
		if (length < 4 || (void *)h + 20 > end)
			return SNF_C_gtpu_truncated;
		next = flags & 4 ? h[19] : 0;
		s->gtpu_seq = load16(h + 16);
		off += 4;
	}
	s->off = off;
	if (next) {
		why = gtpu_extensions(data, end, s, next);
		if (why)
			return why;
	}
	return gtpu_type_counter(type);
}

#endif
