/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Round trips of QUIC without a key: of the handshake, whose packets have long headers (RFC 8999, 5.1). The server
 * answers the client's first packet, and a Handshake packet of the client proves that the server's came to it (RFC
 * 9001, 4); its Initials may be the rest of its hello, its 0-RTT packets may be sent at any time. And of the spin bit
 * (RFC 9000, 17.4). The client inverts the bit and the server reflects it, so that an edge towards the server and the
 * same edge back time the server's side, and the next edge towards it the client's (RFC 9312, 3.8.2).
 */
#ifndef SNF_QUIC_H
#define SNF_QUIC_H

#include "telemetry.h"

#define QUIC_V1		0x00000001
#define QUIC_V2		0x6b3343cf /* RFC 9369 */
#define QUIC_DRAFT	0xff000000 /* and the number of the draft */
#define QUIC_LEAST	21     /* bytes of a long header with empty connection identifiers, and of what follows it */
#define QUIC_INITIAL	1200   /* bytes of a client's datagram with an Initial, at least (RFC 9000, 14.1) */
#define QUIC_AGAIN_US	20000  /* a client's packet so long after its first is a second try, not the rest of it */
#define QUIC_RESEND_US	200000 /* an Initial of the server so long after its first is sent again (RFC 9002, 6.2.2) */
#define QUIC_TRUST	16     /* short headers before the spin bit is believed, */
#define QUIC_SPIN_SHARE 3      /* and of so many one may be an edge: endpoints that do not spin send random bits */
#define QUIC_ACK_ONLY	100    /* bytes of a datagram that may be a mere acknowledgement, which nobody answers */
#define QUIC_DELAY_US	25000  /* in which everything else is acknowledged (max_ack_delay, RFC 9000, 18.2) */

static __always_inline u32 is_quic_version(u32 version)
{
	return version == QUIC_V1 || version == QUIC_V2 || (version & 0xffffff00) == QUIC_DRAFT;
}

/* An Initial by its first five bytes; a version that nobody lists is taken to number its types as version 1 does. */
static __always_inline u32 is_initial(const u8 *h)
{
	u32 version = load32(h + 1);

	return (h[0] & 0xf0) == (version == QUIC_V2 ? 0xd0 : 0xc0) && version;
}

/* Is it the first byte of a Handshake packet? (RFC 9000, 17.2; RFC 9369, 3.2) */
static __always_inline u32 is_quic_handshake(const u8 *h)
{
	return (h[0] & 0xf0) == (load32(h + 1) == QUIC_V2 ? 0xf0 : 0xe0);
}

static __always_inline u8 *quic_bytes(void *data, void *end, u32 at, u32 n)
{
	u8 *h = data + (at & MAX_OFFSET);

	return at > MAX_OFFSET || (void *)h + n > end ? NULL : h;
}

enum quic_brings { BRINGS_OTHER, BRINGS_INITIAL, BRINGS_HANDSHAKE };

/* What does a datagram bring: a Handshake packet, as its first or behind an Initial (RFC 9000, 12.2), or an Initial? */
static __always_inline u32 quic_brings(void *data, void *end, u32 at)
{
	u8 *h = quic_bytes(data, end, at, 6);

	if (!h)
		return BRINGS_OTHER;
	if (is_quic_handshake(h))
		return BRINGS_HANDSHAKE;
	if (!is_initial(h))
		return BRINGS_OTHER;
	at += 6 + h[5]; /* behind the destination's identifier */
	h = quic_bytes(data, end, at, 1);
	if (!h)
		return BRINGS_INITIAL;
	at += 1 + h[0]; /* the source's, */
	h = quic_bytes(data, end, at, 2);
	if (!h)
		return BRINGS_INITIAL;
	at += h[0] < 0x40 ? 1 + h[0] : 2 + (load16(h) & 0x3fff); /* and a token, which no server's has */
	h = quic_bytes(data, end, at, 4);
	if (!h)
		return BRINGS_INITIAL;
	at += h[0] < 0x40 ? 1 + h[0] : h[0] < 0x80 ? 2 + (load16(h) & 0x3fff) : 4 + (load32(h) & 0x3fffffff);
	h = quic_bytes(data, end, at, 5);
	return h && is_quic_handshake(h) ? BRINGS_HANDSHAKE : BRINGS_INITIAL;
}

static __always_inline void quic_client(struct flow *f, u32 o, u32 now, u32 brings)
{
	struct quic_state *q = &f->transport.quic;

	if (!q->answer_us && now - q->hello_us > QUIC_AGAIN_US)
		q->again = 1; /* its answer would be ambiguous (RFC 9002, 5.1) */
	if (q->done || brings != BRINGS_HANDSHAKE)
		return;
	q->done = 1;
	if (!q->flight_us)
		return;
	f->handshake_us[o] = nonzero(now - q->flight_us);
	rtt_sample(f, o, now - q->flight_us);
}

static __always_inline void quic_server(struct flow *f, u32 o, u32 now, u32 brings)
{
	struct quic_state *q = &f->transport.quic;

	if (!q->answer_us) {
		q->answer_us = nonzero(now);
		if (!q->again) {
			f->handshake_us[o] = nonzero(now - q->hello_us);
			rtt_sample(f, o, now - q->hello_us);
		}
	}
	if (q->done || brings == BRINGS_OTHER)
		return;
	/* Its hello is in the last Initial before its first Handshake packet: one before may acknowledge only. */
	if (q->flight_us && now - q->flight_us > (q->flight ? QUIC_AGAIN_US : QUIC_RESEND_US))
		q->done = 1; /* the answer may be to either */
	if (!q->flight)
		q->flight_us = nonzero(now);
	if (brings == BRINGS_HANDSHAKE)
		q->flight = 1;
}

static __always_inline void quic_handshake(void *data, void *end, struct scratch *s, struct control *c, struct flow *f,
					   u32 d)
{
	u32 brings = f->transport.quic.done ? BRINGS_OTHER : quic_brings(data, end, s->payload_off);

	if (d == f->transport.quic.client)
		quic_client(f, d ^ 1, fine_clock(s, c), brings);
	else
		quic_server(f, d ^ 1, fine_clock(s, c), brings);
}

/* The edge of direction o comes back after us. The other end sends it with its next packet, which answers an edge that
 * brought data; with a mere acknowledgement it may have had nothing to send, and waited for the application (RFC 9312,
 * 3.8.2). A side that was silent for much longer than its handshake took is not timed by such an edge. */
static __always_inline u32 quic_waited(struct flow *f, u32 o, u32 us)
{
	return f->transport.quic.hushed >> (o & 1) & 1 && us > 2 * f->handshake_us[o & 1] + QUIC_DELAY_US;
}

static __always_inline void quic_spin(struct scratch *s, struct control *c, struct flow *f, u32 d, u8 spin)
{
	struct quic_state *q = &f->transport.quic;
	u32 o = d ^ 1, now, trusted;

	if (q->shorts < 0xffff)
		q->shorts++;
	if (q->spin[d & 1] == spin) {
		q->hushed &= ~(1u << (o & 1));
		return;
	}
	now = fine_clock(s, c);
	q->spin[d & 1] = spin;
	if (q->edges < 0xffff)
		q->edges++;
	trusted = q->shorts >= QUIC_TRUST && q->edges * QUIC_SPIN_SHARE <= q->shorts;
	/* towards the server an edge answers the other value of the server's last one, back it answers the same value
	 */
	if (trusted && q->edge_us[o & 1] && (q->spin[o & 1] == spin) == (d != q->client) &&
	    !quic_waited(f, o, now - q->edge_us[o & 1]))
		rtt_sample(f, o, now - q->edge_us[o & 1]);
	q->edge_us[d & 1] = nonzero(now);
	q->hushed = s->payload_length < QUIC_ACK_ONLY ? 1u << (d & 1) : 0;
}

/* Returns 1 when the packet is of a QUIC connection that was seen from its beginning. */
static __always_inline u32 quic_packet(void *data, void *end, struct scratch *s, struct control *c, struct flow *f,
				       u32 d)
{
	u32 off = s->payload_off;
	u8 *h;

	if (s->payload_length < QUIC_LEAST || off > MAX_OFFSET)
		return f->flags & FLOW_QUIC;
	h = data + (off & MAX_OFFSET);
	if ((void *)h + 5 > end)
		return f->flags & FLOW_QUIC;
	if (!(f->flags & FLOW_QUIC)) {
		u32 version = load32(h + 1);

		if ((h[0] & 0xc0) != 0xc0 || !is_quic_version(version))
			return 0;
		__builtin_memset(&f->transport.quic, 0, sizeof(f->transport.quic));
		f->flags |= FLOW_QUIC;
		f->transport.quic.client = d;
		f->transport.quic.hello_us = fine_clock(s, c);
		return 1;
	}
	if (h[0] & 0x80)
		quic_handshake(data, end, s, c, f, d);
	else
		quic_spin(s, c, f, d, !!(h[0] & 0x20));
	return 1;
}

#endif
