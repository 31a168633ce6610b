/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Video frames without a header that tells them, by two rules, of which the reader takes the one that fits the sender.
 *
 * Equal: packets of one frame have nearly one length (the IP/UDP heuristic of Sharma et al., Estimating WebRTC Video
 * QoE Metrics Without Using Application Headers, IMC 2023). Two frames may have it as well: one ends before a pause
 * that is long beside the distance of frames, when it has about as many bytes as others. A frame that is larger is only
 * held back by its sender, who sends no faster than the link is thought to be. The last packet of a frame that was cut
 * into n is up to n bytes shorter than the others.
 *
 * Filled: a sender fills packets and cuts the last one, so a frame ends with the first packet that is shorter, or
 * before a pause that is long beside the distances of packets that belong together, at whatever rate a link lets them
 * pass, and beside the distance of frames.
 *
 * A copy of a lost packet has its sequence number in front (RFC 4588, 4): it is two bytes longer than the full packets
 * are of a sender who fills them. It is of no frame.
 *
 * Small packets are sound, and what RTCP and STUN say; most of them are sound, so that those of more than twice their
 * median are of the picture: small frames, and the last packets of others.
 */
#ifndef SNF_FRAMES_H
#define SNF_FRAMES_H

#include "clock.h"

#define FRAME_SAME  2	/* bytes that packets of one frame may differ by (IMC 2023, 3.2) */
#define FRAME_VIDEO 306 /* payloads up to this are audio (IMC 2023, 3.2) */
#define FREEZE_LEAST_US                                                                                                \
	150000		 /* beyond the mean distance of frames, or three times it (W3C webrtc-stats, freezeCount) */
#define FRAME_MEAN    30 /* frames that the mean distance remembers (the same) */
#define SOUND_FIRST   (FRAME_VIDEO / 2) /* median length of sound before one is known */
#define SOUND_TIMES   2			/* sound of a varying rate is longer, up to so many times the median */
#define SOUND_LEAST   128  /* reports of RTCP are shorter: two blocks, a name and the tag of SRTP (RFC 3550, 6.4) */
#define PAUSE_LEAST   4000 /* of equal frames: no shorter pause is one between frames, a quarter of 60 a second; */
#define PAUSE_OF_8    3	   /* nor is one of less than 3/8 of their distance */
#define ALIKE_LEAST   1	   /* halves of the mean's bytes that a frame has at least, */
#define ALIKE_MOST    3	   /* and at most, or a pause does not end it */
#define KEYS_MOST     3	   /* a frame counts in the mean with so many times it at most */
#define FRAME_BYTES   (1 << 24)
#define APART_MOST_US 200000 /* frames come five a second at least */
#define CUT_US	      1000   /* packets that are cut from one frame follow within it, unless they are held back */
#define FILLED_SAME   16     /* bytes that a header extension may take from one full packet and not from the next */
#define FILLED_FADE   10     /* bits: a full packet of 1,000 bytes fades by one with each that is shorter */
#define COPY_LONGER   2	     /* bytes of the original sequence number (RFC 4588, 4) */
#define USUAL_LEAST   2	     /* full packets of one length, more than of others, before a longer one is a copy, */
#define USUAL_MOST    15     /* and so many copies in a row are none: the sender has another length now */
#define RUN_FIRST_US  1000   /* distance of packets of a frame before one is known, */
#define RUN_MOST_US   100000 /* and at most: ten packets a second are no video */
#define RUN_STEP      3	     /* bits: an eighth, towards each distance that is seen */
#define RUN_TIMES     3	     /* a longer distance ends a frame, */
#define RUN_LEAST_US  4000   /* but not a shorter one than this: a quarter of 60 frames a second, */
#define RUN_OF_2      1	     /* nor than half of the distance of frames */

/* Count a frame, which ended at a time. Returns the distance from the one before, 0 when there was none. */
static __always_inline u32 end_frame(struct frames *r, u32 at_us)
{
	u32 gap = r->end_us ? at_us - r->end_us : 0, ticks;

	r->n++;
	r->octets += r->open;
	r->open = 0;
	r->end_us = nonzero(at_us);
	ticks = (gap > FRAME_GAP_CUT_US ? FRAME_GAP_CUT_US : gap) / SNF_GAP_TICK_US;
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

/* A small packet: is it sound? */
static __always_inline u32 is_sound(struct detail *e, u32 length)
{
	u32 sound = e->sound ? e->sound : SOUND_FIRST, most;

	if (length > FRAME_VIDEO)
		return 0;
	sound += (length > sound) - (length < sound);
	sound = sound > FRAME_VIDEO / 2 ? FRAME_VIDEO / 2 : nonzero(sound);
	e->sound = sound;
	most = sound * SOUND_TIMES;
	return length <= (most > SOUND_LEAST ? most : SOUND_LEAST);
}

static __always_inline u32 is_cut_from(struct detail *e, u32 gap, u32 length)
{
	u32 shorter = e->last_length[0] - length;

	if (near(length, e->last_length[0]) || near(length, e->last_length[1]))
		return 1;
	return shorter - 1 < e->together && gap < CUT_US;
}

static __always_inline u32 apart(u32 mean_us)
{
	return mean_us > APART_MOST_US ? APART_MOST_US : mean_us;
}

/* The pause that ends the open frame, though a packet of the same length may follow; 0: none does. */
static __always_inline u32 equal_pause(struct detail *e)
{
	u32 pause = apart(e->frame_gap_us) * PAUSE_OF_8 >> 3, mean = e->equal_octets;

	if (mean && (e->equal.open * 2 < mean * ALIKE_LEAST || e->equal.open * 2 > mean * ALIKE_MOST))
		return 0;
	return (pause > PAUSE_LEAST ? pause : PAUSE_LEAST) / SNF_GAP_TICK_US;
}

/* Is the open frame over when *gap* has passed since its last packet? */
static __always_inline u32 is_over(u32 pause, u32 gap)
{
	return pause && gap >= pause * SNF_GAP_TICK_US;
}

static __always_inline void end_equal(struct detail *e)
{
	u32 octets = e->equal.open, mean = e->equal_octets, most = mean ? mean * KEYS_MOST : FRAME_BYTES, gap;

	if (octets > most)
		octets = most;
	e->equal_octets = mean ? (mean * (FRAME_MEAN - 1) + octets) / FRAME_MEAN : octets;
	gap = end_frame(&e->equal, e->packet_us);
	if (gap && is_freeze(&e->frame_gap_us, gap))
		e->frozen_ms += gap / 1000;
	e->together = 0;
}

static __always_inline void count_equal(struct detail *e, u32 now_us, u32 length)
{
	u32 gap = now_us - e->packet_us;

	if (e->packet_us && (!is_cut_from(e, gap, length) || is_over(e->equal_pause, gap)))
		end_equal(e);
	e->equal.open += length;
	if (e->together < 0xff)
		e->together++;
	e->last_length[1] = e->last_length[0];
	e->last_length[0] = length;
	e->equal_pause = equal_pause(e);
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

static __always_inline void end_filled(struct detail *e, u32 at_us)
{
	u32 gap = end_frame(&e->filled, at_us);

	if (gap)
		is_freeze(&e->filled_gap_us, gap);
}

static __always_inline u32 filled_pause(struct detail *e)
{
	u32 pause = e->run_us * RUN_TIMES, half = apart(e->filled_gap_us) >> RUN_OF_2;

	if (pause < RUN_LEAST_US)
		pause = RUN_LEAST_US;
	return (pause > half ? pause : half) / SNF_GAP_TICK_US;
}

static __always_inline void count_filled(struct detail *e, u32 now_us, u32 length)
{
	u32 gap = e->packet_us ? now_us - e->packet_us : 0;

	if (!e->run_us)
		e->run_us = RUN_FIRST_US;
	if (e->filled.open && is_over(e->filled_pause, gap))
		end_filled(e, e->packet_us);
	if (e->was_full && gap)
		learn_run(e, gap);
	e->full = length > e->full ? length : e->full - (e->full >> FILLED_FADE);
	e->was_full = length + FILLED_SAME >= e->full;
	e->filled.open += length;
	if (!e->was_full)
		end_filled(e, now_us);
	e->filled_pause = filled_pause(e);
}

/* Is this a copy of a full packet? If not, learn how long those are: the majority vote of Boyer and Moore. */
static __always_inline u32 is_full_copy(struct detail *e, u32 length)
{
	u32 sure = e->usual_sure;

	if (length == e->usual) {
		e->usual_sure = sure < USUAL_MOST ? sure + 1 : sure;
		return 0;
	}
	if (length + FILLED_SAME < e->full)
		return 0;
	if (sure) {
		e->usual_sure = sure - 1;
		return sure >= USUAL_LEAST && length == e->usual + COPY_LONGER;
	}
	e->usual = length;
	e->usual_sure = 1;
	return 0;
}

/* A downlink packet of video. */
static __always_inline void count_frames(struct detail *e, u32 now_us, u32 length)
{
	if (is_full_copy(e, length))
		return;
	count_equal(e, now_us, length);
	count_filled(e, now_us, length);
	e->packet_us = nonzero(now_us);
}

#endif
