/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Reports of receivers, where RTCP is in clear: the only word of what was lost behind the probe. A compound packet
 * whose lengths add up to the end of its payload is in clear; behind an encrypted one there is a trailer (RFC
 * 3711, 3.4).
 */
#ifndef SNF_RTCP_H
#define SNF_RTCP_H

#include "clock.h"
#include "rtp.h"

#define RTCP_SENDER	200
#define RTCP_RECEIVER	201
#define RTCP_PACKETS	TURNS(6) /* of a compound: report, description, feedback (RFC 3550, 6.1) */
#define RTCP_BLOCKS	TURNS(4) /* of a report that are looked at: sound and picture, and two more */
#define RTCP_HEADER	8
#define RTCP_SENDER_END 28 /* where the blocks of a sender's report begin */
#define RTCP_BLOCK	24
#define RTCP_MOST_STEP	100000 /* packets between two reports */

/* Does the payload consist of whole packets of RTCP, the first of which is a report? */
static __always_inline u32 is_rtcp(void *data, void *end, struct scratch *s)
{
	u64 i;
	u8 *h = bytes_at(data, end, s->payload_off, 4);

	if (!h || (h[1] != RTCP_SENDER && h[1] != RTCP_RECEIVER))
		return 0;
	IN_MEMORY(s->taken) = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < RTCP_PACKETS; i++) {
		u32 at = IN_MEMORY(s->taken);

		h = bytes_at(data, end, s->payload_off + at, 4);
		if (!h || h[0] >> 6 != 2 || h[1] < RTCP_FIRST || h[1] > RTCP_LAST)
			return 0;
		at += 4 * (load16(h + 2) + 1);
		if (at >= s->payload_length)
			return at == s->payload_length;
		IN_MEMORY(s->taken) = at;
	}
	return 0;
}

static __always_inline void rtcp_round_trip(struct rtcp_reports *r, u32 sender, u32 delay, u32 now_us)
{
	u32 us = now_us - r->sender_us;
	u64 held = (u64)delay * 1000000 >> 16;

	if (sender && r->sender_us && r->sender == sender && held <= us)
		r->rtt_us = nonzero(us - held);
}

static __always_inline void rtcp_block(struct rtcp_reports *r, const u8 *b, u32 clock_khz, u32 now_us)
{
	u32 ssrc = load32(b), lost = load32(b + 4) << 8, last = load32(b + 8), step = last - r->last;

	lost = lost >> 8 | (lost >> 31 ? 0xff000000 : 0); /* 24 bits with a sign: copies may make it negative */
	if (r->n && r->ssrc == ssrc && step < RTCP_MOST_STEP) {
		r->expected += step;
		r->lost += lost - r->cumulative;
	}
	r->ssrc = ssrc;
	r->last = last;
	r->cumulative = lost;
	r->n++;
	if (clock_khz)
		r->jitter_us = (u64)load32(b + 12) * 1000 / clock_khz;
	rtcp_round_trip(r, load32(b + 16), load32(b + 20), now_us);
}

/* A report: of its sender's own stream (`mine`) when the next report has to say which one it answers, and about the
 * stream that came to it, of source `wanted`; 0: of any. */
static __always_inline void count_report(void *data, void *end, struct scratch *s, struct rtcp_reports *mine,
					 struct rtcp_reports *about, u32 wanted, u32 clock_khz)
{
	u32 at = s->payload_off + RTCP_HEADER, blocks;
	u64 i;
	u8 *h = bytes_at(data, end, s->payload_off, RTCP_HEADER);

	if (!h)
		return;
	blocks = h[0] & 31;
	if (h[1] == RTCP_SENDER) {
		h = bytes_at(data, end, at, 8);
		if (!h)
			return;
		mine->sender = load32(h) << 16 | load32(h + 4) >> 16;
		mine->sender_us = nonzero(s->now_us);
		at = s->payload_off + RTCP_SENDER_END;
	}
	IN_MEMORY(s->taken) = at;
#pragma clang loop unroll(disable)
	for (i = 0; i < RTCP_BLOCKS; i++) {
		at = IN_MEMORY(s->taken);
		h = bytes_at(data, end, at, RTCP_BLOCK);
		if (!h || i >= blocks || at + RTCP_BLOCK > s->payload_off + s->payload_length)
			return;
		if (!wanted || load32(h) == wanted) {
			rtcp_block(about, h, clock_khz, s->now_us);
			return;
		}
		IN_MEMORY(s->taken) = at + RTCP_BLOCK;
	}
}

#endif
