/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What is kept of each packet of an inspected flow: gaps, TCP loss and round-trip times, RTP loss (RFC 3550, A.3). */
#ifndef SNF_TELEMETRY_H
#define SNF_TELEMETRY_H

#include "flow.h"

#define GAP_CUT_US 1000000  /* a longer pause is silence and no jitter */
#define RTT_MAX_US 10000000 /* an answer after ten seconds is an answer to something else */
#define REORDER_US 3000	    /* a segment this soon after its successor was overtaken, where no handshake was timed */

static __always_inline u32 is_dns(struct scratch *s)
{
	return s->sport == bpf_htons(PORT_DNS) || s->dport == bpf_htons(PORT_DNS);
}

/* The flow was silent for so long that the low half of the clock may have come round. */
static __always_inline void forget_clocks(struct scratch *s, struct flow *f)
{
	f->last_us[0] = f->last_us[1] = s->now_us;
	if (s->inner.proto == PROTO_TCP) {
		f->transport.tcp.probe_us[0] = f->transport.tcp.probe_us[1] = 0;
		f->transport.tcp.turn[0] = f->transport.tcp.turn[1] = 0;
		f->transport.tcp.seen[0] &= ~TCP_OPEN;
		f->transport.tcp.seen[1] &= ~TCP_OPEN;
		f->rare.tcp.at.hole_us = 0;
	} else if (f->flags & FLOW_QUIC) {
		f->transport.quic.done = 1;
		f->transport.quic.edge_us[0] = f->transport.quic.edge_us[1] = 0;
	} else if (is_dns(s)) {
		f->transport.dns.asked_us[0] = f->transport.dns.asked_us[1] = 0;
	}
}

static __always_inline void new_epoch(struct scratch *s, struct control *c, struct flow *f)
{
	if (c->stale && (u16)(c->epoch - f->epoch) >= c->stale)
		forget_clocks(s, f);
	f->epoch = c->epoch;
	f->gap_max[0] = f->gap_max[1] = 0;
	f->rtt_min_us[0] = f->rtt_min_us[1] = NO_RTT;
}

static __always_inline void count_gap(struct flow *f, u32 d, u32 now_us)
{
	u32 gap = now_us - f->last_us[d], ticks, most;

	if (!f->packets[d] || (s32)gap < 0)
		return;
	most = gap / SNF_GAP_MAX_US;
	if (most > f->gap_max[d])
		f->gap_max[d] = most > 0xffff ? 0xffff : most;
	if (gap > GAP_CUT_US)
		gap = GAP_CUT_US;
	ticks = (gap + SNF_GAP_TICK_US / 2) / SNF_GAP_TICK_US;
	f->gap_ticks[d] += ticks;
	f->gap_ticks2[d] += ticks * ticks;
}

static __always_inline void rtt_sample(struct flow *f, u32 d, u32 us)
{
	if (us > RTT_MAX_US)
		return;
	f->rtt_sum_us[d] += us;
	f->rtt_n[d]++;
	if (us < f->rtt_min_us[d])
		f->rtt_min_us[d] = us;
}

/* Zero says that nothing is running or was seen. */
static __always_inline u32 nonzero(u32 us)
{
	return us ? us : 1;
}

static __always_inline u32 tcp_opening(struct tcp_state *t)
{
	return (t->seen[0] | t->seen[1]) & TCP_OPEN;
}

/*
 * Round trips. The probe is the end of a segment that brings new bytes: the acknowledgement of just that number is its
 * answer. A higher one says that the answer was held back or did not pass here, and bytes that are sent again make it
 * ambiguous (RFC 6298, 3): then there is no sample (Sengupta et al., Continuous In-Network Round-Trip Time Monitoring,
 * SIGCOMM 2022). Time stamps are not asked: a receiver that delays its acknowledgement echoes the first of the segments
 * that it answers (RFC 7323, 4.3), and so a stamp that nobody echoes stays open through think time.
 *
 * One segment of a turn is the probe, the first, or instead of it the second, or instead of that the fourth, because
 * receivers acknowledge every second one (RFC 9293, 3.8.6.3). A turn ends with its probe; when a higher number was
 * acknowledged the next one begins a segment later, or if it did so already it does not.
 */
#define TURN_SEGMENTS 0x07 /* of the turn so far */
#define TURN_LATER    0x08 /* it begins with its second segment */
#define TURN_PROBES   0x16 /* bit n: the nth of a turn becomes the probe */
#define TURN_LAST     4

/* SYN to SYN-ACK and SYN-ACK to ACK are round trips as others are; the whole of the handshake, SYN to ACK, is known to
 * a probe that sees one direction only as well. */
static __always_inline void tcp_handshake(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->transport.tcp;
	struct tcp_rare *r = &f->rare.tcp;

	if (s->tcp_flags & TCP_SYN) {
		if (s->tcp_flags & TCP_ACK || !(t->seen[d] & TCP_CLIENT) || t->seen[d] & TCP_OVER)
			return;
		if (!(t->seen[d] & TCP_OPEN) || !(t->seen[d ^ 1] & TCP_SEQ))
			r->at.syn_us = fine_clock(s, c);
		t->seen[d] |= TCP_OPEN;
	} else if (t->seen[d] & TCP_OPEN && (s->tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK) {
		r->connect_us = nonzero(fine_clock(s, c) - r->at.syn_us);
		r->at.hole_us = 0;
		t->seen[d] = (t->seen[d] & ~TCP_OPEN) | TCP_OVER;
	}
}

/* Does this packet of direction d answer the probe of the other direction? */
static __always_inline void tcp_answer(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 o = d ^ 1, us;
	s32 beyond;

	if (!t->probe_us[o] || !(s->tcp_flags & TCP_ACK))
		return;
	beyond = s->ack - t->probe[o];
	if (s->tcp_flags & TCP_SYN && tcp_opening(t)) /* with or without the data of the SYN */
		beyond = 0;
	if (beyond < 0)
		return;
	if (beyond) {
		t->turn[o] = (t->turn[o] ^ TURN_LATER) & TURN_LATER;
	} else {
		us = fine_clock(s, c) - t->probe_us[o];
		t->turn[o] &= TURN_LATER;
		rtt_sample(f, o, us);
		if (tcp_opening(t) && !(s->tcp_flags & TCP_RST))
			f->handshake_us[o] = nonzero(us);
	}
	t->probe_us[o] = 0;
}

static __always_inline void tcp_probe(struct scratch *s, struct control *c, struct flow *f, u32 d, u32 next)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 later = t->turn[d] & TURN_LATER, n = t->turn[d] & TURN_SEGMENTS;

	if (n >= TURN_LAST + !!later)
		return;
	if (tcp_opening(t) && !(s->tcp_flags & TCP_SYN))
		return;
	n++;
	t->turn[d] = n | later;
	if (!(TURN_PROBES >> (n - !!later) & 1))
		return;
	t->probe[d] = next;
	t->probe_us[d] = nonzero(fine_clock(s, c));
}

/* Bytes that come after later ones: did they only lose their way, or were they sent again? A resend takes a round trip
 * at least. Of two gaps the time of the newer one is known. */
static __always_inline u32 tcp_overtaken(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_rare *r = &f->rare.tcp;
	u32 limit = REORDER_US;

	if (!r->at.hole_us || (r->at.hole_us & 1) != d || tcp_opening(&f->transport.tcp))
		return 0;
	if (r->connect_us && (s32)(s->seq - r->hole_seq) >= 0)
		limit = r->connect_us;
	return (s32)(fine_clock(s, c) - r->at.hole_us) < (s32)limit;
}

/* A packet that begins before the end of what was seen. */
static __always_inline void tcp_old(struct scratch *s, struct control *c, struct flow *f, u32 d, u32 length)
{
	struct tcp_state *t = &f->transport.tcp;
	struct tcp_rare *r = &f->rare.tcp;
	u32 next = s->seq + length;
	s32 beyond = next - t->max_seq[d];

	t->probe_us[d] = 0; /* its answer would be ambiguous (Karn) */
	t->turn[d] &= TURN_LATER;
	if (!length)
		return;
	if (!beyond && s->payload_length <= 1 && !(s->tcp_flags & (TCP_SYN | TCP_FIN)))
		return; /* keep-alive (RFC 9293, 3.8.4) */
	if (beyond > 0)
		t->max_seq[d] = next; /* new bytes go with them (RFC 9293, 3.8.1) */
	if (beyond <= 0 && tcp_overtaken(s, c, f, d))
		r->reordered[d]++;
	else
		r->retrans[d]++;
}

static __always_inline void tcp_segment(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 length = s->payload_length + !!(s->tcp_flags & (TCP_SYN | TCP_FIN));
	s32 beyond = s->seq - t->max_seq[d];

	tcp_answer(s, c, f, d);
	tcp_handshake(s, c, f, d);
	if (t->seen[d] & TCP_SEQ && beyond < 0) {
		tcp_old(s, c, f, d, length);
		return;
	}
	if (!length)
		return;
	if (t->seen[d] & TCP_SEQ && beyond > 0 && !tcp_opening(t)) {
		f->rare.tcp.at.hole_us = (fine_clock(s, c) & ~1u) | d;
		f->rare.tcp.hole_seq = t->max_seq[d];
	}
	t->seen[d] |= TCP_SEQ;
	t->max_seq[d] = s->seq + length;
	tcp_probe(s, c, f, d, s->seq + length);
}

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
	struct rtp_state *r = &f->transport.rtp;
	struct rtp_rare *o = &f->rare.rtp;
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
	struct rtp_state *r = &f->transport.rtp;
	u16 step = seq - r->max_seq[d];

	if (step >= RTP_MAX_DROPOUT && (u16)-step >= RTP_MAX_MISORDER) {
		if (!(r->valid[d] & RTP_JUMPED) || f->rare.rtp.bad_seq[d] != seq) {
			r->valid[d] |= RTP_JUMPED;
			f->rare.rtp.bad_seq[d] = seq + 1;
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
	struct rtp_state *r = &f->transport.rtp;
	struct rtp_rare *o = &f->rare.rtp;
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
	struct rtp_state *r = &f->transport.rtp;
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
