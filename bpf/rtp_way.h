/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a receiver of RTP would say beside its losses, of the first source that rtp.h follows, until it is silent:
 * jitter (RFC 3550, A.8), runs of missing packets, markers, the payload type, and the rate of its clock. A dynamic
 * payload type has a rate that only signalling tells, so it is learned: over half a second time stamps grow by it, give
 * or take the jitter.
 */
#ifndef SNF_RTP_WAY_H
#define SNF_RTP_WAY_H

#include "clock.h"
#include "rtp.h"

#define RTP_LEARN_US  500000
#define RTP_STRAY_US  10000000 /* a larger step of the transit time is another clock, and no jitter */
#define RTP_SILENT_US 2000000  /* a pause of speech has a packet each 400 ms at least (RFC 7587, 3.1.3) */
#define RTP_HEADER    12
#define RTP_PADDED    0x20
#define RTP_EXTENDED  0x10
#define RTP_MARKER    0x80
#define RTP_STATIC_PT 18 /* payload types of telephony up to G.729 (RFC 3551, table 4) */

struct rtp_head {
	u32 stamp;
	u32 ssrc;
	u16 seq;
	u8 marker;
	u8 pt;
	u8 empty; /* nothing but padding */
};

/* Is all that follows the header padding (RFC 3550, 5.1)? Senders probe a link with such packets. */
static __always_inline u32 rtp_is_empty(void *data, void *end, struct scratch *s, u8 first)
{
	u32 off = s->payload_off, header = RTP_HEADER + 4 * (first & 15);
	u8 *h;

	if (!(first & RTP_PADDED))
		return 0;
	if (first & RTP_EXTENDED) {
		h = bytes_at(data, end, off + header, 4);
		if (!h)
			return 0;
		header += 4 + 4 * load16(h + 2);
	}
	h = bytes_at(data, end, off + s->payload_length - 1, 1);
	return h && header + h[0] >= s->payload_length;
}

static __always_inline u32 read_rtp(void *data, void *end, struct scratch *s, struct rtp_head *p)
{
	u8 *h = bytes_at(data, end, s->payload_off, RTP_HEADER);

	if (!h || s->payload_length < RTP_HEADER || h[0] >> 6 != 2 || (h[1] >= RTCP_FIRST && h[1] <= RTCP_LAST))
		return 0;
	p->marker = !!(h[1] & RTP_MARKER);
	p->pt = h[1] & ~RTP_MARKER;
	p->seq = load16(h + 2);
	p->stamp = load32(h + 4);
	p->ssrc = load32(h + 8);
	p->empty = rtp_is_empty(data, end, s, h[0]);
	return 1;
}

/* Of the rates that codecs of calls have the one that is nearest, as a ratio, in kHz. */
static __always_inline u32 nearest_khz(u32 hz)
{
	return hz < 11314 ? 8 : hz < 22627 ? 16 : hz < 39192 ? 32 : hz < 65727 ? 48 : 90;
}

/* A rate that is known gives way to another one that is seen twice in a row. */
static __always_inline void learn_clock(struct rtp_way *w, u32 stamp, u32 now_us)
{
	u32 us = now_us - w->base_us, grown = stamp - w->base_stamp, khz;

	if (w->base_us && us < RTP_LEARN_US)
		return;
	if (w->base_us && (s32)grown > 0) {
		khz = nearest_khz((u64)grown * 1000000 / us);
		if (!w->clock_khz || khz == w->next_khz)
			w->clock_khz = khz;
		w->next_khz = khz;
	}
	w->base_stamp = stamp;
	w->base_us = nonzero(now_us);
}

/* RFC 3550, A.8, in sixteenths of a microsecond. */
static __always_inline void count_jitter(struct rtp_way *w, u32 stamp, u32 now_us)
{
	u32 grown = stamp - w->stamp, back = grown >> 31;
	u64 sent, came = now_us - w->at_us, off;

	if (w->clock_khz && w->at_us) {
		sent = (u64)(back ? -grown : grown) * 1000 / w->clock_khz;
		off = back ? came + sent : came > sent ? came - sent : sent - came;
		if (off < RTP_STRAY_US)
			w->jitter_q4 += (u32)off - ((w->jitter_q4 + 8) >> 4);
	}
	w->stamp = stamp;
	w->at_us = nonzero(now_us);
}

/* Returns 0 when it is no packet that says more: one that came twice. */
static __always_inline u32 count_runs(struct rtp_way *w, u16 seq)
{
	u16 step = seq - w->max_seq, missing = step - 1;

	if (!step)
		return 0;
	if (step < RTP_MAX_DROPOUT) {
		if (missing) {
			w->runs++;
			w->gap_seq = w->max_seq + 1;
			w->gap = w->gap_left = missing > 255 ? 255 : missing;
		}
		w->max_seq = seq;
	} else if ((u16)-step < RTP_MAX_MISORDER) { /* it was only late, and perhaps the last one of its run */
		if ((u16)(seq - w->gap_seq) < w->gap && w->gap_left) {
			w->gap_left--;
			w->runs -= !w->gap_left;
		}
	} else { /* a jump: its sender began a new count */
		w->max_seq = seq;
		w->at_us = w->base_us = w->gap_left = 0;
	}
	return 1;
}

static __always_inline void begin_way(struct rtp_way *w, struct rtp_head *p)
{
	w->ssrc = p->ssrc;
	w->at_us = w->base_us = w->jitter_q4 = 0;
	w->clock_khz = w->next_khz = w->gap = w->gap_left = 0;
	w->max_seq = p->seq - 1;
}

/* A packet, when the flow follows the source *followed*. Where sound and picture share it that is now one, now the
 * other, while a burst of packets is one frame; what is learned here holds for one of them. */
static __always_inline void count_way(struct rtp_way *w, struct rtp_head *p, u32 followed, u32 now_us)
{
	if (w->ssrc != p->ssrc) {
		if (p->ssrc != followed || (w->ssrc && w->at_us && now_us - w->at_us < RTP_SILENT_US))
			return;
		begin_way(w, p);
	}
	if (!count_runs(w, p->seq))
		return;
	w->pt = p->pt;
	w->markers += p->marker;
	if (p->pt <= RTP_STATIC_PT)
		w->clock_khz = 8;
	else
		learn_clock(w, p->stamp, now_us);
	count_jitter(w, p->stamp, now_us);
}

#endif
