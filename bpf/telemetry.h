/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What is kept of each packet of an inspected flow: gaps, TCP loss and round-trip
 * times (RFC 7323 time stamps, else sequence numbers), RTP loss (RFC 3550, A.3).
 */
#ifndef SNF_TELEMETRY_H
#define SNF_TELEMETRY_H

#include "flow.h"

#define GAP_CUT_US 1000000  /* a longer pause is silence and no jitter */
#define RTT_MAX_US 10000000 /* an answer after ten seconds is an answer to something else */
#define REORDER_US 3000	    /* a segment this soon after its successor was overtaken, not lost */

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static __always_inline void new_epoch(struct flow *f, u32 epoch)
{
	f->epoch = epoch;
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

/* The handshake times both sides once (SYN to SYN-ACK, SYN-ACK to ACK) and the whole (SYN to ACK), which a
 * probe that sees one direction only has as well. The last SYN counts, and the first SYN-ACK that answers it.
 * The answer to one that was sent twice is ambiguous and times no side (RFC 6298, 3). */
static __always_inline void tcp_handshake(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->tcp;
	struct tcp_rare *r = &f->tcp_rare;
	u32 o = d ^ 1, known = t->syn_us && t->syn_dir != d, since;

	if (s->tcp_flags & TCP_SYN) {
		fine_clock(s, c);
		if (!(s->tcp_flags & TCP_ACK)) {
			if (t->syn_us)
				t->seen[d] |= TCP_AGAIN;
			t->syn_us = nonzero(s->now_us);
			r->synack_us = 0;
			t->syn_dir = d;
		} else if (known && r->synack_us) {
			t->seen[d] |= TCP_AGAIN;
		} else if (known) {
			r->synack_us = nonzero(s->now_us);
			since = s->now_us - t->syn_us;
			if (!(t->seen[o] & TCP_AGAIN)) {
				f->handshake_us[o] = nonzero(since);
				rtt_sample(f, o, since);
			}
		}
	} else if (t->syn_us && t->syn_dir == d && (s->tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK) {
		fine_clock(s, c);
		r->connect_us = nonzero(s->now_us - t->syn_us);
		since = s->now_us - r->synack_us;
		if (r->synack_us && !(t->seen[o] & TCP_AGAIN)) {
			f->handshake_us[o] = nonzero(since);
			rtt_sample(f, o, since);
		}
		t->syn_us = r->synack_us = 0; /* a later SYN-ACK is a copy, and answers nothing */
	}
}

/* Does this packet of direction d answer the probe of the other direction? */
static __always_inline void tcp_answer(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->tcp;
	u32 o = d ^ 1, answered;

	if (!t->probe_us[o] || !(s->tcp_flags & TCP_ACK))
		return;
	if (t->seen[o] & TCP_PROBE_TS)
		answered = s->has_ts && (s32)(s->tsecr - t->probe[o]) >= 0;
	else
		answered = (s32)(s->ack - t->probe[o]) >= 0;
	if (!answered)
		return;
	rtt_sample(f, o, fine_clock(s, c) - t->probe_us[o]);
	t->probe_us[o] = 0;
}

static __always_inline void tcp_probe(struct scratch *s, struct control *c, struct flow *f, u32 d, u32 next)
{
	struct tcp_state *t = &f->tcp;

	if (t->probe_us[d] && s->now_us - t->probe_us[d] < RTT_MAX_US)
		return;
	if (s->tcp_flags & TCP_SYN)
		return; /* the handshake is timed on its own */
	if (s->has_ts) {
		if (t->seen[d] & TCP_PROBE_TS && t->probe[d] == s->tsval)
			return; /* the clock has not ticked: an answer could be to the packet before */
		t->seen[d] |= TCP_PROBE_TS;
		t->probe[d] = s->tsval;
	} else {
		t->seen[d] &= ~TCP_PROBE_TS;
		t->probe[d] = next;
	}
	t->probe_us[d] = nonzero(fine_clock(s, c));
}

static __always_inline void tcp_segment(struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	struct tcp_state *t = &f->tcp;
	struct tcp_rare *r = &f->tcp_rare;
	u32 length = s->payload_length + !!(s->tcp_flags & (TCP_SYN | TCP_FIN));
	u32 next = s->seq + length;

	tcp_handshake(s, c, f, d);
	tcp_answer(s, c, f, d);
	if (!length)
		return;
	if (t->seen[d] & TCP_SEQ && (s32)(next - t->max_seq[d]) <= 0) {
		if (s->payload_length <= 1 && !(s->tcp_flags & (TCP_SYN | TCP_FIN)) && next == t->max_seq[d])
			return; /* keep-alive (RFC 9293, 3.8.4) */
		if (t->seen[d] & TCP_HOLE && !t->syn_us && fine_clock(s, c) - r->hole_us < REORDER_US)
			r->reordered[d]++;
		else
			r->retrans[d]++;
		t->probe_us[d] = 0; /* its answer would be ambiguous (Karn) */
		return;
	}
	if (t->seen[d] & TCP_SEQ && (s32)(s->seq - t->max_seq[d]) > 0 && !t->syn_us) {
		t->seen[d] |= TCP_HOLE;
		r->hole_us = fine_clock(s, c);
	}
	t->seen[d] |= TCP_SEQ;
	t->max_seq[d] = next;
	tcp_probe(s, c, f, d, next);
}

#define RTP_MAX_STEP   64  /* a larger step of the sequence number is another stream (RFC 3550, A.1 uses 3000) */
#define RTP_MAX_MISSES 100 /* packets of other sources before the flow follows another one */

static __always_inline void rtp_packet(void *data, void *end, struct scratch *s, struct flow *f, u32 d)
{
	struct rtp_state *r = &f->rtp;
	u32 off = s->payload_off, ssrc;
	s16 step;
	u16 seq;
	u8 *h, pt;

	if (s->payload_length < 12 || off > MAX_OFFSET)
		return;
	h = data + (off & MAX_OFFSET);
	if ((void *)h + 12 > end)
		return;
	pt = h[1] & 0x7f;
	if (h[0] >> 6 != 2 || (pt >= 72 && pt <= 76)) /* RTCP on the same port (RFC 5761, 4) */
		return;
	seq = load16(h + 2);
	ssrc = load32(h + 8);
	if (r->ssrc[d] != ssrc) {
		if (r->ssrc[d] && r->misses[d] < RTP_MAX_MISSES && r->valid[d]) {
			r->misses[d]++;
			return;
		}
		r->ssrc[d] = ssrc;
		r->max_seq[d] = seq;
		r->valid[d] = 0;
		r->misses[d] = 0;
		return;
	}
	r->misses[d] = 0;
	step = (s16)(seq - r->max_seq[d]);
	if (step <= -RTP_MAX_STEP || step >= RTP_MAX_STEP) {
		r->max_seq[d] = seq;
		return;
	}
	if (!r->valid[d]) {
		if (step != 1)
			return;
		r->valid[d] = 1;
		r->expected[d]++; /* the packet before, which made this one credible */
		r->received[d]++;
	}
	r->received[d]++;
	if (step > 0) {
		r->expected[d] += step;
		r->max_seq[d] = seq;
	}
}

#endif
