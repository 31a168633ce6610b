/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* TCP: round trips, handshakes, bytes sent again and bytes overtaken. */
#ifndef SNF_TCP_H
#define SNF_TCP_H

#include "telemetry.h"

#define REORDER_US 3000 /* a segment this soon after its successor was overtaken, where no handshake was timed */

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

/*
 * A segment sent again for nothing (RFC 8985, 7.2: a tail loss probe; RFC 5682: a time-out that came too early): its
 * original had arrived. The receiver says so by a duplicate SACK (RFC 2883, 4), or the acknowledgement comes sooner
 * after the copy than half of the least round trip. Instead of a probe the copy is timed, which gives no sample.
 */
#define TURN_COPY     0x10 /* probe and probe_us are those of a copy */
#define TURN_FORGIVEN 0x20 /* the last copy was told to be for nothing */
#define TURN_STAYS    (TURN_LATER | TURN_FORGIVEN | TURN_GAP)
#define SACK_OPTION   0x01010500 /* two NOPs, kind 5; the length behind it */
#define OPTION_TIMES  12	 /* bytes: two NOPs and time stamps, before SACK or not (RFC 7323, appendix A) */

/*
 * The place of a loss. What was lost before the probe is seen as a gap, which the segment that is sent again fills;
 * what was lost behind it is seen twice. From a gap on, until it is acknowledged, what is sent again is taken to fill
 * it.
 */
#define TURN_GAP 0x40 /* there is one, and hole_seq is where the newest begins */

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

/* A copy of direction d was for nothing; once for each. */
static __always_inline void tcp_forgive(struct flow *f, u32 d)
{
	struct tcp_state *t = &f->transport.tcp;

	if (!(t->turn[d] & TURN_FORGIVEN))
		f->rare.tcp.spurious[d]++;
	t->turn[d] |= TURN_FORGIVEN;
}

/* A copy of the direction o is acknowledged. */
static __always_inline void tcp_copy_answer(struct scratch *s, struct control *c, struct flow *f, u32 o)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 least = f->rtt_min_us[o] != NO_RTT ? f->rtt_min_us[o] : f->handshake_us[o];

	if (fine_clock(s, c) - t->probe_us[o] < least / 2)
		tcp_forgive(f, o);
	t->turn[o] &= TURN_STAYS;
	t->probe_us[o] = 0;
}

/* Does this acknowledgement of direction o's segments say that one came twice? */
static __always_inline void tcp_duplicate(void *data, void *end, struct scratch *s, struct flow *f, u32 o)
{
	u32 off = s->payload_off, at = s->off + 20; /* off: still that of the TCP header */
	u64 n;
	u8 *h;

	if (!f->rare.tcp.retrans[o] || off < at + 12)
		return;
#pragma unroll
	for (n = 0; n < 2; n++) {
		h = data + ((at + (u32)n * OPTION_TIMES) & MAX_OFFSET);
		if ((void *)h + 12 > end)
			return;
		if ((load32(h) & 0xffffff00) == SACK_OPTION && (s32)(load32(h + 8) - s->ack) <= 0)
			tcp_forgive(f, o);
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
	if (t->turn[o] & TURN_COPY) {
		tcp_copy_answer(s, c, f, o);
		return;
	}
	if (beyond) {
		t->turn[o] = (t->turn[o] ^ TURN_LATER) & TURN_STAYS;
	} else {
		us = fine_clock(s, c) - t->probe_us[o];
		t->turn[o] &= TURN_STAYS;
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

	if (n >= TURN_LAST + !!later || t->turn[d] & TURN_COPY)
		return;
	if (tcp_opening(t) && !(s->tcp_flags & TCP_SYN))
		return;
	n++;
	t->turn[d] = n | (t->turn[d] & TURN_STAYS);
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

/* There is a gap in direction o: is it filled? The receiver acknowledges beyond its begin and what was sent last, and
 * has nothing to SACK. It may forget what it has told (RFC 2018, 8), and then acknowledges no more than what was sent
 * again. */
static __always_inline void tcp_gap(void *data, void *end, struct scratch *s, struct flow *f, u32 o)
{
	u32 off = s->off + 20, options = s->payload_off - off;
	u8 *h = data + (off & MAX_OFFSET);

	if (!(s->tcp_flags & TCP_ACK) || (s32)(s->ack - f->rare.tcp.hole_seq) <= 0 || options > OPTION_TIMES)
		return;
	if ((s32)(s->ack - f->transport.tcp.probe[o]) <= 0)
		return;
	if (options == OPTION_TIMES && ((void *)h + 4 > end || (load32(h) & 0xffffff00) == SACK_OPTION))
		return;
	f->transport.tcp.turn[o] &= ~TURN_GAP;
}

/* A packet that begins before the end of what was seen. */
static __always_inline void tcp_old(struct scratch *s, struct control *c, struct flow *f, u32 d, u32 length)
{
	struct tcp_state *t = &f->transport.tcp;
	struct tcp_rare *r = &f->rare.tcp;
	u32 next = s->seq + length;
	s32 beyond = next - t->max_seq[d];

	t->probe_us[d] = 0; /* its answer would be ambiguous (Karn) */
	t->turn[d] &= TURN_STAYS;
	if (!length)
		return;
	if (!beyond && s->payload_length <= 1 && !(s->tcp_flags & (TCP_SYN | TCP_FIN)))
		return; /* keep-alive (RFC 9293, 3.8.4) */
	if (beyond > 0)
		t->max_seq[d] = next;		      /* new bytes go with them (RFC 9293, 3.8.1) */
	if (beyond <= 0 && tcp_overtaken(s, c, f, d)) /* delay that varies, told from loss */
		return;
	r->retrans[d]++;
	if (t->turn[d] & TURN_GAP)
		f->filled[d]++;
	if (!s->payload_length)
		return;
	t->probe[d] = next;
	t->probe_us[d] = nonzero(fine_clock(s, c));
	t->turn[d] = (t->turn[d] & (TURN_LATER | TURN_GAP)) | TURN_COPY;
}

static __always_inline void tcp_segment(void *data, void *end, struct scratch *s, struct control *c, struct flow *f,
					u32 d)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 length = s->payload_length + !!(s->tcp_flags & (TCP_SYN | TCP_FIN));
	s32 beyond = s->seq - t->max_seq[d];

	tcp_duplicate(data, end, s, f, d ^ 1);
	tcp_answer(s, c, f, d);
	if (t->turn[d ^ 1] & TURN_GAP)
		tcp_gap(data, end, s, f, d ^ 1);
	tcp_handshake(s, c, f, d);
	if (s->tcp_flags & (TCP_FIN | TCP_RST))
		t->seen[d] |= s->tcp_flags & TCP_RST ? TCP_RST_SENT : TCP_FIN_SENT;
	if (t->seen[d] & TCP_SEQ && beyond < 0) {
		tcp_old(s, c, f, d, length);
		return;
	}
	if (!length)
		return;
	if (t->seen[d] & TCP_SEQ && beyond > 0 && !tcp_opening(t)) {
		f->rare.tcp.at.hole_us = (fine_clock(s, c) & ~1u) | d;
		f->rare.tcp.hole_seq = t->max_seq[d];
		t->turn[d] |= TURN_GAP;
		t->turn[d ^ 1] &= ~TURN_GAP;
	}
	t->seen[d] |= TCP_SEQ;
	t->max_seq[d] = s->seq + length;
	tcp_probe(s, c, f, d, s->seq + length);
}

#endif
