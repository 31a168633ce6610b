/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* RTP: packets expected and received (RFC 3550, A.1 and A.3). */
#ifndef SNF_RTP_H
#define SNF_RTP_H

#include "bytes.h"
#include "packet.h"

#define RTP_MAX_DROPOUT	 3000 /* a larger step is a jump (RFC 3550, A.1), */
#define RTP_MAX_MISORDER 100  /* as is one further back than this */
#define RTP_OTHERS	 8    /* packets of another source in a row before the flow follows it */
#define RTP_MAX_MISSES	 100  /* packets of several others in a row before it follows one of them */
#define RTCP_FIRST	 192  /* packet types on the same port (RFC 5761, 4) */
#define RTCP_LAST	 223

/* A packet of another source than the one that is followed. It is followed when nothing else passes any more; what it
 * lost until then is counted as well. */
static __always_inline void rtp_other(struct flow *f, u32 d, u32 ssrc, u16 seq)
{
	struct rtp_state *r = &f->rtp;
	struct rtp_rare *o = &f->rtp_rare;
	u16 step = seq - o->max_seq[d];

	if (!r->misses[d] || o->ssrc[d] != ssrc || (step >= RTP_MAX_DROPOUT && (u16)-step >= RTP_MAX_MISORDER)) {
		o->ssrc[d] = ssrc;
		o->max_seq[d] = seq;
		o->expected[d] = o->received[d] = 1;
	} else {
		if (step < RTP_MAX_DROPOUT) {
			o->expected[d] += step;
			o->max_seq[d] = seq;
		}
		o->received[d]++;
	}
	r->misses[d]++;
	if (o->received[d] < RTP_OTHERS && r->misses[d] < RTP_MAX_MISSES)
		return;
	r->ssrc[d] = ssrc;
	r->max_seq[d] = o->max_seq[d];
	r->expected[d] += o->expected[d];
	r->received[d] += o->received[d];
	r->misses[d] = 0;
	r->valid[d] = RTP_VALID;
}

/* RFC 3550, A.1, with MIN_SEQUENTIAL 2. */
static __always_inline void rtp_sequence(struct flow *f, u32 d, u16 seq)
{
	struct rtp_state *r = &f->rtp;
	u16 step = seq - r->max_seq[d];

	if (step >= RTP_MAX_DROPOUT && (u16)-step >= RTP_MAX_MISORDER) {
		if (!(r->valid[d] & RTP_JUMPED) || f->rtp_rare.bad_seq[d] != seq) {
			r->valid[d] |= RTP_JUMPED;
			f->rtp_rare.bad_seq[d] = seq + 1;
			return;
		}
		r->expected[d]++; /* the packet before, which made this one credible */
		r->received[d]++;
		step = 1;
	}
	r->valid[d] = RTP_VALID;
	r->received[d]++;
	if (step < RTP_MAX_DROPOUT) {
		r->expected[d] += step;
		r->max_seq[d] = seq;
	}
}

/* No source is followed yet: the one of which two packets in sequence pass will be, of two that pass in turns as well.
 */
static __always_inline void rtp_first(struct flow *f, u32 d, u32 ssrc, u16 seq)
{
	struct rtp_state *r = &f->rtp;
	struct rtp_rare *o = &f->rtp_rare;
	u32 first = r->ssrc[d] == ssrc || !r->ssrc[d], known = first ? r->ssrc[d] : o->ssrc[d];
	u16 before = first ? r->max_seq[d] : o->max_seq[d];

	if (known == ssrc && (u16)(seq - before) == 1) {
		r->valid[d] = RTP_VALID;
		r->expected[d] = r->received[d] = 2;
		first = 1;
	}
	if (first) {
		r->ssrc[d] = ssrc;
		r->max_seq[d] = seq;
	} else {
		o->ssrc[d] = ssrc;
		o->max_seq[d] = seq;
	}
}

static __always_inline void rtp_packet(void *data, void *end, struct scratch *s, struct flow *f, u32 d)
{
	struct rtp_state *r = &f->rtp;
	u32 off = s->payload_off, ssrc;
	u16 seq;
	u8 *h;

	if (s->payload_length < 12 || off > MAX_OFFSET)
		return;
	h = data + (off & MAX_OFFSET);
	if ((void *)h + 12 > end)
		return;
	if (h[0] >> 6 != 2 || (h[1] >= RTCP_FIRST && h[1] <= RTCP_LAST))
		return;
	seq = load16(h + 2);
	ssrc = load32(h + 8);
	if (r->valid[d] && r->ssrc[d] != ssrc) {
		rtp_other(f, d, ssrc, seq);
		return;
	}
	r->misses[d] = 0;
	if (r->valid[d]) {
		rtp_sequence(f, d, seq);
		return;
	}
	rtp_first(f, d, ssrc, seq);
}

#endif
