/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What is kept of each packet of an inspected flow, whatever its protocol: gaps, round trips, minima of an interval. */
#ifndef SNF_TELEMETRY_H
#define SNF_TELEMETRY_H

#include "flow.h"

#define GAP_CUT_US 1000000 /* a longer pause is silence and no jitter */

/* The flow was silent for so long that the low half of the clock may have come round. */
static __always_inline void forget_clocks(struct scratch *s, struct flow *f)
{
	f->last_us[0] = f->last_us[1] = s->now_us;
	if (s->inner.proto == PROTO_TCP) {
		f->tcp.probe_us[0] = f->tcp.probe_us[1] = 0;
		f->tcp.turn[0] = f->tcp.turn[1] = 0;
		f->tcp.seen[0] &= ~TCP_OPEN;
		f->tcp.seen[1] &= ~TCP_OPEN;
		f->tcp_rare.hole_us = 0;
	} else if (f->flags & FLOW_QUIC) {
		f->quic.done = 1;
		f->quic.edge_us[0] = f->quic.edge_us[1] = 0;
	} else if (is_dns(s)) {
		f->dns.asked_us[0] = f->dns.asked_us[1] = 0;
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

#endif
