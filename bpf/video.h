/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Frames of the picture that comes down by RTP: packets of one time stamp, up to the marker. Sound and picture share
 * their ports (RFC 8843): the picture is the source with the large packets. Packets of other sources as large are
 * copies of lost ones (RFC 4588) or probe the link, and are no frames; nor is what holds nothing but padding.
 *
 * Frames on the wire are not frames shown: one that lacks a packet, and all that refer to it, are not shown until a key
 * frame, far larger than others, comes whole, or what was missing comes after all.
 */
#ifndef SNF_VIDEO_H
#define SNF_VIDEO_H

#include "frames.h"
#include "rtp_way.h"

#define VIDEO_OTHERS   64	/* large packets of other sources in a row before one of them is the picture */
#define KEY_TIMES      3	/* a frame of more than so many times the mean is a key frame */
#define FREEZE_MOST_US 10000000 /* by then a receiver has asked for a key frame, and this rule missed it */

/* The time up to *at* is one in which nothing new was shown, if it lasted as long as what is called a freeze. */
static __always_inline void count_frozen(struct video *v, u32 at_us)
{
	if (at_us - v->since_us < FREEZE_LEAST_US)
		return;
	v->frozen_us += at_us - v->until_us;
	v->until_us = at_us;
}

static __always_inline void thaw(struct video *v, u32 at_us)
{
	count_frozen(v, at_us);
	v->flags &= ~VIDEO_FROZEN;
	v->missing = 0;
}

/* Is a frame of so many bytes a key frame? The first one is; the mean is that of the others. */
static __always_inline u32 is_keyframe(struct video *v, u32 octets)
{
	u32 most = v->mean * KEY_TIMES, key = octets > most;

	if (v->frames.n == 1)
		return 1;
	if (!v->mean) {
		v->mean = octets;
		return 0;
	}
	v->mean = (v->mean * (FRAME_MEAN - 1) + (key ? most : octets)) / FRAME_MEAN;
	return key;
}

static __always_inline void end_picture(struct video *v, u32 at_us)
{
	u32 octets = v->frames.open, gap = end_frame(&v->frames, at_us), key = is_keyframe(v, octets);

	v->keyframes += key;
	if (v->flags & VIDEO_BROKEN) {
		v->incomplete++;
		if (!(v->flags & VIDEO_FROZEN)) {
			v->since_us = v->until_us = at_us;
			v->flags |= VIDEO_FROZEN;
		}
		count_frozen(v, at_us);
	} else if (v->flags & VIDEO_FROZEN) {
		count_frozen(v, at_us);
		if (key || at_us - v->since_us > FREEZE_MOST_US)
			thaw(v, at_us);
	} else if (gap && is_freeze(&v->gap_us, gap)) {
		v->frozen_us += gap;
	}
	v->flags &= ~(VIDEO_OPEN | VIDEO_BROKEN);
}

/* One of the missing packets came after all. */
static __always_inline void repair(struct video *v, u32 now_us)
{
	if (!v->missing)
		return;
	v->missing--;
	if (v->missing)
		return;
	v->flags &= ~VIDEO_BROKEN;
	if (v->flags & VIDEO_FROZEN)
		thaw(v, now_us);
}

/* A packet of another source. Returns 1 when that is the picture from now on. */
static __always_inline u32 is_new_picture(struct video *v, struct rtp_head *p, u32 now_us, u32 length)
{
	if (length <= FRAME_VIDEO || p->empty)
		return 0;
	if (v->ssrc) {
		repair(v, now_us);
		if (++v->others < VIDEO_OTHERS)
			return 0;
	}
	v->ssrc = p->ssrc;
	v->flags = v->missing = v->frames.open = 0;
	return 1;
}

/* Packets between the last one and this one did not come: of the frame that is open, for it has no marker yet, else of
 * this one, or of one before it that it refers to. */
static __always_inline void picture_lost(struct video *v, u32 lost)
{
	if (!lost)
		return;
	v->missing += lost;
	v->flags |= VIDEO_BROKEN;
}

static __always_inline void count_picture(struct video *v, struct rtp_head *p, u32 now_us, u32 length)
{
	u16 step = p->seq - v->max_seq;

	if (v->ssrc != p->ssrc && !is_new_picture(v, p, now_us, length))
		return;
	v->others = 0;
	if (!(v->flags & VIDEO_SEEN) || (step >= RTP_MAX_DROPOUT && (u16)-step >= RTP_MAX_MISORDER))
		step = 1;
	v->flags |= VIDEO_SEEN;
	if (!step)
		return;
	if (step >= RTP_MAX_DROPOUT) { /* late */
		repair(v, now_us);
		if (v->flags & VIDEO_OPEN && v->stamp == p->stamp)
			v->frames.open += length;
		return;
	}
	v->max_seq = p->seq;
	picture_lost(v, step - 1);
	if (v->flags & VIDEO_OPEN && v->stamp != p->stamp)
		end_picture(v, v->at_us);
	if (p->empty)
		return;
	if (!(v->flags & VIDEO_OPEN)) {
		if (v->frames.end_us && v->stamp == p->stamp) /* behind its marker */
			return;
		v->flags |= VIDEO_OPEN;
		v->stamp = p->stamp;
	}
	v->frames.open += length;
	v->at_us = nonzero(now_us);
	if (p->marker)
		end_picture(v, now_us);
}

#endif
