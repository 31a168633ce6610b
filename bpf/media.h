/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What media flows keep beside struct flow: packet sizes, throughput of 100 ms, requests and their answers, and of
 * calls and games frames, ticks, echoes and what RTP says. Flows of applications whose policy says so have it, and
 * flows without a name once they have moved as much as media do. It is a second table and a second lookup
 * (detail_table.h), in a program of its own, so that the path of all other flows is not longer by it.
 */
#ifndef SNF_MEDIA_H
#define SNF_MEDIA_H

#include "chunks.h"
#include "frames.h"
#include "handoff.h"
#include "rtcp.h"
#include "ticks.h"
#include "video.h"
#include "windows.h"

#define SLOTS 12
#define GROWN                                                                                                          \
	100 /* payload packets: two seconds of a call; of pages on phones 5 % of the flows have more, and 2/3 of the   \
	     * bytes (SIGCOMM21-5G artifact) */
/* Has the flow of this packet a detail? */
static __always_inline u32 has_detail(struct scratch *s, struct flow *f, u32 keep)
{
	if (is_dns(s))
		return 0;
	return keep & KEEP_DETAIL || f->payload_packets[0] + f->payload_packets[1] > GROWN;
}

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

/* The flow was silent for so long that the low half of the clock may have come round, as in forget_clocks(). */
static __always_inline void forget_times(struct detail *e)
{
	e->payload_us[0] = e->payload_us[1] = e->packet_us = 0;
	e->equal.end_us = e->filled.end_us = e->equal.open = e->filled.open = e->was_full = e->together = 0;
	e->chunk.request_us = e->chunk.first_us = e->chunk.waiting_us = e->chunk.unanswered_us = 0;
	e->chunk.bytes = e->chunk.packets = e->chunk.gap_max_us = e->chunk.requests = e->chunk.length = 0;
	if (!(e->flags & DETAIL_CALL)) {
		e->more.echo[0].probe_us = e->more.echo[1].probe_us = 0;
		return;
	}
	e->more.rtp.way[0].at_us = e->more.rtp.way[1].at_us = 0;
	e->more.rtp.way[0].base_us = e->more.rtp.way[1].base_us = 0;
	e->more.rtp.reports[0].sender_us = e->more.rtp.reports[1].sender_us = 0;
	e->more.rtp.video.frames.end_us = e->more.rtp.video.frames.open = 0;
	e->more.rtp.video.flags = e->more.rtp.video.missing = 0;
}

static __always_inline void detail_epoch(struct detail *e, struct control *c)
{
	if (e->epoch == (u16)c->epoch)
		return;
	if (c->stale && (u16)(c->epoch - e->epoch) >= c->stale)
		forget_times(e);
	e->epoch = c->epoch;
	e->peak = e->busy = 0;
	if (!(e->flags & DETAIL_CALL))
		e->more.echo[0].min_us = e->more.echo[1].min_us = 0;
}

/* From here on the detail is one of RTP. */
static __always_inline void speaks_rtp(struct detail *e)
{
	if (e->flags & DETAIL_CALL)
		return;
	__builtin_memset(&e->more, 0, sizeof(e->more));
	e->flags |= DETAIL_CALL;
}

static __always_inline void count_rtp(void *data, void *end, struct scratch *s, struct flow *f, struct detail *e,
				      u32 down)
{
	u32 d = s->dir & 1;
	struct rtp_head head;

	if (!read_rtp(data, end, s, &head))
		return;
	speaks_rtp(e);
	FORGET();
	if (down)
		count_way(&e->more.rtp.way[SNF_DOWNLINK], &head, f->transport.rtp.ssrc[d], s->now_us);
	else
		count_way(&e->more.rtp.way[SNF_UPLINK], &head, f->transport.rtp.ssrc[d], s->now_us);
	FORGET();
	if (down)
		count_picture(&e->more.rtp.video, &head, s->now_us, s->payload_length);
}

static __always_inline void count_rtcp(void *data, void *end, struct scratch *s, struct detail *e, u32 down)
{
	speaks_rtp(e);
	if (down)
		count_report(data, end, s, &e->more.rtp.reports[SNF_DOWNLINK], &e->more.rtp.reports[SNF_UPLINK],
			     e->more.rtp.way[SNF_UPLINK].ssrc, e->more.rtp.way[SNF_UPLINK].clock_khz);
	else
		count_report(data, end, s, &e->more.rtp.reports[SNF_UPLINK], &e->more.rtp.reports[SNF_DOWNLINK],
			     e->more.rtp.way[SNF_DOWNLINK].ssrc, e->more.rtp.way[SNF_DOWNLINK].clock_khz);
}

/* A datagram that may be of RTP, of its control protocol, or of a game. */
static __always_inline void count_datagram(void *data, void *end, struct scratch *s, struct flow *f, struct detail *e,
					   u32 down)
{
	u8 *h;

	if (f->flags & FLOW_QUIC || !s->whole_l4)
		return;
	if (is_rtcp(data, end, s)) {
		count_rtcp(data, end, s, e, down);
	} else if (f->transport.rtp.valid[s->dir & 1]) {
		count_rtp(data, end, s, f, e, down);
	} else if (!(e->flags & DETAIL_CALL)) {
		h = bytes_at(data, end, s->payload_off, ECHO_BYTES);
		if (!h || s->payload_length < ECHO_BYTES)
			return;
		if (down)
			count_echo(&e->more.echo[SNF_DOWNLINK], &e->more.echo[SNF_UPLINK], load64(h), s->payload_length,
				   s->now_us);
		else
			count_echo(&e->more.echo[SNF_UPLINK], &e->more.echo[SNF_DOWNLINK], load64(h), s->payload_length,
				   s->now_us);
	}
}

/* A payload over UDP that is timed to the microsecond. */
static __always_inline void count_timed(void *data, void *end, struct scratch *s, struct flow *f, struct detail *e,
					u32 down)
{
	u32 before = down ? e->payload_us[SNF_DOWNLINK] : e->payload_us[SNF_UPLINK];

	if (before)
		count_tick(down ? &e->ticks[SNF_DOWNLINK] : &e->ticks[SNF_UPLINK], s->now_us - before);
	FORGET();
	if (down && !is_sound(e, s->payload_length))
		count_frames(e, s->now_us, s->payload_length);
	FORGET();
	count_datagram(data, end, s, f, e, down);
}

static __always_inline void count_detail(void *data, void *end, struct scratch *s, struct control *c, struct flow *f,
					 struct port_stats *st)
{
	struct detail *e = detail_of(s, c, f, st);
	/* Without a word of the tunnel, who spoke first is taken for the UE. */
	u32 ue = f->ue_end == SNF_UE_UNKNOWN ? !!(f->flags & FLOW_FIRST_B) : f->ue_end, down = ue != (s->dir & 1);

	if (!e)
		return;
	detail_epoch(e, c);
	if (down)
		count_slot(e, s->now_us, s->inner.total);
	if (s->inner.proto == PROTO_TCP && s->whole_l4)
		count_window(data, end, s, f, down ? &e->windows[SNF_DOWNLINK] : &e->windows[SNF_UPLINK]);
	FORGET();
	if (!s->payload_length)
		return;
	FORGET();
	count_size(e, down, s->payload_length);
	if (down)
		count_answer(s, &e->chunk, f);
	else if (is_request(s, f, s->keep))
		count_request(s, &e->chunk, f, st, s->keep);
	FORGET();
	if (s->keep & KEEP_FINE && s->inner.proto == PROTO_UDP)
		count_timed(data, end, s, f, e, down);
	if (down)
		e->payload_us[SNF_DOWNLINK] = nonzero(s->now_us);
	else
		e->payload_us[SNF_UPLINK] = nonzero(s->now_us);
}

/* Entered by tail call with the packet parsed in scratch and counted for its flow. */
int snf_media(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;
	struct flow *f;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	f = flow_there(in.s);
	if (f) {
		count_detail(data, end, in.s, in.c, f, in.st);
		if (in.s->want)
			read_payload(ctx, data, end, &in, f, in.s->want);
	}
	return decide(ctx, &in, in.s->signalling);
}

#endif
