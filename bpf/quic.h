/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Round trips of QUIC without a key: of the handshake, whose packets have long headers (RFC 8999, 5.1), and of the
 * spin bit (RFC 9000, 17.4). The client inverts the bit and the server reflects it, so that an edge towards the server
 * and the same edge back time the server's side, and the next edge towards it the client's (RFC 9312, 3.8.2).
 */
#ifndef SNF_QUIC_H
#define SNF_QUIC_H

#include "telemetry.h"

#define QUIC_V1		0x00000001
#define QUIC_V2		0x6b3343cf /* RFC 9369 */
#define QUIC_DRAFT	0xff000000 /* and the number of the draft */
#define QUIC_LEAST	21    /* bytes of a long header with empty connection identifiers, and of what follows it */
#define QUIC_INITIAL	1200  /* bytes of a client's datagram with an Initial, at least (RFC 9000, 14.1) */
#define QUIC_AGAIN_US	20000 /* a client's packet so long after its first is a second try, not the rest of it */
#define QUIC_TRUST	16    /* short headers before the spin bit is believed, */
#define QUIC_SPIN_SHARE 3     /* and of so many one may be an edge: endpoints that do not spin send random bits */

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

static __always_inline void quic_handshake(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct quic_state *q = &f->quic;
	u32 now = fine_clock(s, c), o = d ^ 1;

	if (d == q->client) {
		if (!q->answer_us) {
			if (now - q->hello_us > QUIC_AGAIN_US)
				q->again = 1; /* its answer would be ambiguous (RFC 9002, 5.1) */
			return;
		}
		if (f->handshake_us[o] || q->done)
			return;
		f->handshake_us[o] = nonzero(now - q->answer_us);
		rtt_sample(f, o, now - q->answer_us);
		q->done = 1;
	} else if (!q->answer_us) {
		q->answer_us = nonzero(now);
		if (q->again)
			return;
		f->handshake_us[o] = nonzero(now - q->hello_us);
		rtt_sample(f, o, now - q->hello_us);
	}
}

static __always_inline void quic_spin(struct scratch *s, struct control *c, struct flow *f, u32 d, u8 spin)
{
	struct quic_state *q = &f->quic;
	u32 o = d ^ 1, now, trusted;

	if (q->shorts < 0xffff)
		q->shorts++;
	if (q->spin[d & 1] == spin)
		return;
	now = fine_clock(s, c);
	q->spin[d & 1] = spin;
	if (q->edges < 0xffff)
		q->edges++;
	trusted = q->shorts >= QUIC_TRUST && q->edges * QUIC_SPIN_SHARE <= q->shorts;
	/* towards the server an edge answers the other value of the server's last one, back it answers the same value
	 */
	if (trusted && q->edge_us[o & 1] && (q->spin[o & 1] == spin) == (d != q->client))
		rtt_sample(f, o, now - q->edge_us[o & 1]);
	q->edge_us[d & 1] = nonzero(now);
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
		__builtin_memset(&f->quic, 0, sizeof(f->quic));
		f->flags |= FLOW_QUIC;
		f->quic.version = version;
		f->quic.client = d;
		f->quic.hello_us = fine_clock(s, c);
		return 1;
	}
	if (h[0] & 0x80)
		quic_handshake(s, c, f, d);
	else
		quic_spin(s, c, f, d, !!(h[0] & 0x20));
	return 1;
}

#endif
