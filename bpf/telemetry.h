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
		f->transport.tcp.probe_us[0] = f->transport.tcp.probe_us[1] = 0;
		f->transport.tcp.turn[0] = f->transport.tcp.turn[1] = 0;
		f->transport.tcp.seen[0] &= ~TCP_OPEN;
		f->transport.tcp.seen[1] &= ~TCP_OPEN;
		f->rare.tcp.at.hole_us = 0;
	} else if (f->flags & FLOW_QUIC) {
		f->transport.quic.done = 1;
		f->transport.quic.edge_us[0] = f->transport.quic.edge_us[1] = 0;
	} else if (is_dns(s)) {
		f->transport.dns.asked_us[0] = f->transport.dns.asked_us[1] = 0;
	}
}

static __always_inline void new_epoch(struct scratch *s, struct control *c, struct flow *f)
{
	if (c->stale && (u16)(c->epoch - f->epoch) >= c->stale)
		forget_clocks(s, f);
	f->epoch = c->epoch;
	f->gap_max[0] = f->gap_max[1] = 0;
	f->rtt_min_us[0] = f->rtt_min_us[1] = NO_RTT;
	if (s->inner.proto == PROTO_TCP || f->flags & FLOW_QUIC)
		f->rare.tcp.rtt_high[0] = f->rare.tcp.rtt_high[1] = 0;
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

/* A time in eight bits that grow with it: one more than the place of its highest bit beyond the fourth, and the three
 * bits below that. Times under 8 us are 0, which else says that there was no sample. */
static __always_inline u32 rtt_code(u32 us)
{
	u32 shift = 0, n;

#pragma unroll
	for (n = 16; n; n >>= 1)
		shift += n * (opaque(7 - (u64)(us >> shift >> n)) >> 63);
	us >>= shift;
	return us < 8 ? 0 : (shift + 1) << 3 | (us & 7);
}

static __always_inline void rtt_sample(struct flow *f, u32 d, u32 us)
{
	u32 code;

	if (us > RTT_MAX_US)
		return;
	f->rtt_sum_us[d] += us;
	f->rtt_n[d]++;
	if (us < f->rtt_min_us[d])
		f->rtt_min_us[d] = us;
	code = rtt_code(us);
	if (code > f->rare.tcp.rtt_high[d])
		f->rare.tcp.rtt_high[d] = code;
}

#endif
