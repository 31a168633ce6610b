/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Video frames without a header that tells them, by two rules, of which the reader takes the one that fits the sender.
 *
 * Equal: packets of one frame have nearly one length (the IP/UDP heuristic of Sharma et al., Estimating WebRTC Video
 * QoE Metrics Without Using Application Headers, IMC 2023). Filled: a sender fills packets and cuts the last one, so a
 * frame ends with the first packet that is shorter, or before a pause that is long beside the distances of packets that
 * belong together, at whatever rate a link lets them pass.
 */
#ifndef SNF_FRAMES_H
#define SNF_FRAMES_H

#include "clock.h"

#define FRAME_SAME  2	/* bytes that packets of one frame may differ by (IMC 2023, 3.2) */
#define FRAME_VIDEO 306 /* payloads up to this are audio (IMC 2023, 3.2) */
#define FREEZE_LEAST_US                                                                                                \
	150000		 /* beyond the mean distance of frames, or three times it (W3C webrtc-stats, freezeCount) */
#define FRAME_MEAN    30 /* frames that the mean distance remembers (the same) */
#define FRAME_GAP_CUT 1000000 /* as GAP_CUT_US */
#define FILLED_SAME   16      /* bytes that a header extension may take from one full packet and not from the next */
#define FILLED_FADE   10      /* bits: a full packet of 1,000 bytes fades by one with each that is shorter */
#define RUN_FIRST_US  1000    /* distance of packets of a frame before one is known, */
#define RUN_MOST_US   100000  /* and at most: ten packets a second are no video */
#define RUN_STEP      3	      /* bits: an eighth, towards each distance that is seen */
#define RUN_TIMES     3	      /* a longer distance ends a frame, */
#define RUN_LEAST_US  4000    /* but not a shorter one than this: a quarter of 60 frames a second */

/* Count a frame, which ended at a time. Returns the distance from the one before, 0 when there was none. */
static __always_inline u32 end_frame(struct frames *r, u32 at_us)
{
	u32 gap = r->end_us ? at_us - r->end_us : 0, ticks;

	r->n++;
	r->octets += r->open;
	r->open = 0;
	r->end_us = nonzero(at_us);
	ticks = (gap > FRAME_GAP_CUT ? FRAME_GAP_CUT : gap) / SNF_GAP_TICK_US;
	r->gap_ticks += ticks;
	r->gap_ticks2 += ticks * ticks;
	return gap;
}

/* Is a distance of frames a freeze beside their mean? If not, the mean follows it. */
static __always_inline u32 is_freeze(u32 *mean, u32 gap)
{
	u32 limit = *mean + FREEZE_LEAST_US;

	if (limit < 3 * *mean)
		limit = 3 * *mean;
	if (*mean && gap > limit)
		return 1;
	*mean = *mean ? (*mean * (FRAME_MEAN - 1) + gap) / FRAME_MEAN : gap;
	return 0;
}

static __always_inline u32 near(u32 a, u32 b)
{
	return a - b + FRAME_SAME <= 2 * FRAME_SAME;
}

static __always_inline void count_equal(struct detail *e, u32 length)
{
	u32 gap;

	if (e->packet_us && !near(length, e->last_length[0]) && !near(length, e->last_length[1])) {
		gap = end_frame(&e->equal, e->packet_us);
		if (gap && is_freeze(&e->frame_gap_us, gap))
			e->frozen_ms += gap / 1000;
	}
	e->equal.open += length;
	e->last_length[1] = e->last_length[0];
	e->last_length[0] = length;
}

/* The median of distances behind packets that are full: most of them are distances within a frame. */
static __always_inline void learn_run(struct detail *e, u32 gap)
{
	u32 step = e->run_us >> RUN_STEP;

	if (gap > e->run_us)
		e->run_us += step + 1;
	else if (gap < e->run_us)
		e->run_us -= step;
	if (e->run_us > RUN_MOST_US)
		e->run_us = RUN_MOST_US;
}

static __always_inline void count_filled(struct detail *e, u32 now_us, u32 length)
{
	u32 gap = e->packet_us ? now_us - e->packet_us : 0, limit;

	if (!e->run_us)
		e->run_us = RUN_FIRST_US;
	limit = e->run_us * RUN_TIMES;
	if (limit < RUN_LEAST_US)
		limit = RUN_LEAST_US;
	if (e->filled.open && gap >= limit)
		end_frame(&e->filled, e->packet_us);
	if (e->was_full && gap)
		learn_run(e, gap);
	e->full = length > e->full ? length : e->full - (e->full >> FILLED_FADE);
	e->was_full = length + FILLED_SAME >= e->full;
	e->filled.open += length;
	if (!e->was_full)
		end_frame(&e->filled, now_us);
}

/* A downlink packet of video. */
static __always_inline void count_frames(struct detail *e, u32 now_us, u32 length)
{
	count_equal(e, length);
	count_filled(e, now_us, length);
	e->packet_us = nonzero(now_us);
}

#endif
