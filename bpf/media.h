/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What media flows keep beside struct flow: packet sizes, throughput of 100 ms, frames, requests and their answers.
 * Only flows of applications whose policy says so have it; it is a second table and a second lookup (detail_table.h).
 *
 * Frames: packets of one frame have nearly one length (the IP/UDP heuristic of Sharma et al., Estimating WebRTC Video
 * QoE Metrics Without Using Application Headers, IMC 2023). Chunks: an uplink payload of more than 300 bytes is a
 * request, and what comes down until the next one is its answer (Gutterman et al., Requet, MMSys 2019).
 */
#ifndef SNF_MEDIA_H
#define SNF_MEDIA_H

#include "clock.h"
#include "detail_table.h"
#include "parse.h"

#define SLOTS	      12
#define REQUEST_LEAST 300  /* payload bytes (Requet, 3.2) */
#define CHUNK_LEAST   8000 /* a smaller answer is a control message; audio segments are larger */
#define FRAME_SAME    2	   /* bytes that packets of one frame may differ by (IMC 2023, 3.2) */
#define FRAME_VIDEO   306  /* payloads up to this are audio (IMC 2023, 3.2) */
#define FREEZE_LEAST_US                                                                                                \
	150000	      /* beyond the mean distance of frames, or three times as much (W3C webrtc-stats, freezeCount) */
#define FRAME_MEAN 30 /* frames that the mean distance remembers (the same) */

static __always_inline void count_size(struct detail *e, u32 down, u32 length)
{
	if (down)
		e->down_sizes[length < 128    ? 0
			      : length < 306  ? 1
			      : length < 700  ? 2
			      : length < 1100 ? 3
			      : length < 1350 ? 4
					      : 5]++;
	else
		e->up_sizes[length < 100 ? 0 : length < 300 ? 1 : length < 700 ? 2 : 3]++;
}

static __always_inline void count_slot(struct detail *e, u32 now_us, u32 octets)
{
	u32 slot = now_us / SLOT_US, at, sum;
	u64 i;

	if (slot != e->slot) {
		at = e->slot % SLOTS;
		asm volatile("" : "+r"(at));
		if (at < SLOTS && e->slots[at] > e->peak)
			e->peak = e->slots[at];
#pragma clang loop unroll(disable)
		for (i = 0; i < TURNS(SLOTS); i++) { /* those between the two had nothing */
			if (slot - e->slot <= i)
				break;
			at = (slot - (u32)i) % SLOTS;
			asm volatile("" : "+r"(at));
			if (at < SLOTS)
				e->slots[at] = 0;
		}
		e->slot = slot;
		e->busy++;
	}
	at = slot % SLOTS;
	asm volatile("" : "+r"(at));
	if (at >= SLOTS)
		return;
	sum = e->slots[at] + ((octets + (1 << (SLOT_UNIT_SHIFT - 1))) >> SLOT_UNIT_SHIFT);
	e->slots[at] = sum > 0xffff ? 0xffff : sum;
}

static __always_inline u32 near(u32 a, u32 b)
{
	return a - b + FRAME_SAME <= 2 * FRAME_SAME;
}

/* A downlink packet of video: of the frame that is open, or the first of the next one. */
static __always_inline void count_frame(struct detail *e, u32 now_us, u32 length)
{
	u32 gap, limit;

	if (length <= FRAME_VIDEO)
		return;
	if (e->packet_us && !near(length, e->last_length[0]) && !near(length, e->last_length[1])) {
		gap = e->packet_us - e->frame_end_us;
		if (e->frames) {
			limit = e->frame_gap_us + FREEZE_LEAST_US;
			if (limit < 3 * e->frame_gap_us)
				limit = 3 * e->frame_gap_us;
			if (e->frame_gap_us && gap > limit)
				e->frozen_ms += gap / 1000;
			else if (!e->frame_gap_us)
				e->frame_gap_us = gap;
			else
				e->frame_gap_us = (e->frame_gap_us * (FRAME_MEAN - 1) + gap) / FRAME_MEAN;
		}
		e->frames++;
		e->frame_end_us = e->packet_us;
	}
	e->packet_us = nonzero(now_us);
	e->last_length[1] = e->last_length[0];
	e->last_length[0] = length;
}

static __always_inline void close_chunk(struct detail *e, struct flow *f, struct port_stats *st, u32 now_us)
{
	struct chunk *r;
	void *ring;

	if (!e->request_us || e->chunk_bytes < CHUNK_LEAST)
		return;
	e->chunks++;
	ring = ring_of(SNF_RING_CHUNKS);
	r = ring ? bpf_ringbuf_reserve(ring, sizeof(*r), 0) : NULL;
	if (!r) {
		st->n[SNF_C_chunk_ring_full]++;
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->number = f->number;
	r->request_us = e->request_us;
	r->first_us = e->first_us;
	r->last_us = e->last_us;
	r->bytes = e->chunk_bytes;
	r->packets = e->chunk_packets;
	r->idle_us = now_us - e->last_us;
	r->request_length = e->request_length;
	st->n[SNF_C_chunks]++;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

static __always_inline void count_chunk(struct detail *e, struct flow *f, struct port_stats *st, u32 down, u32 now_us,
					u32 length)
{
	if (down) {
		if (!e->request_us)
			return;
		if (!e->first_us)
			e->first_us = nonzero(now_us);
		e->last_us = nonzero(now_us);
		e->chunk_bytes += length;
		e->chunk_packets++;
		return;
	}
	if (length <= REQUEST_LEAST)
		return;
	close_chunk(e, f, st, now_us);
	e->request_us = nonzero(now_us);
	e->request_length = length;
	e->first_us = e->last_us = e->chunk_bytes = e->chunk_packets = 0;
}

static __always_inline void count_detail(struct scratch *s, struct control *c, struct flow *f, struct port_stats *st,
					 u32 keep)
{
	struct detail *e = detail_of(s, c, f, st);
	/* Without a word of the tunnel, who spoke first is taken for the UE. */
	u32 ue = f->ue_end == SNF_UE_UNKNOWN ? !!(f->flags & FLOW_FIRST_B) : f->ue_end, down = ue != (s->dir & 1);

	if (!e)
		return;
	if (e->epoch != (u16)c->epoch) {
		if (c->stale && (u16)(c->epoch - e->epoch) >= c->stale) /* as forget_clocks() */
			e->packet_us = e->frame_end_us = e->request_us = 0;
		e->epoch = c->epoch;
		e->peak = e->busy = 0;
	}
	if (down)
		count_slot(e, s->now_us, s->inner.total);
	if (!s->payload_length)
		return;
	count_size(e, down, s->payload_length);
	count_chunk(e, f, st, down, s->now_us, s->payload_length);
	if (down && keep & KEEP_FINE && s->inner.proto == PROTO_UDP)
		count_frame(e, s->now_us, s->payload_length);
}

#endif
