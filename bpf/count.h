/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* A packet is counted for its flow, as far as the policy of the flow's application says. */
#ifndef SNF_COUNT_H
#define SNF_COUNT_H

#include "dns_timing.h"
#include "handoff.h"
#include "media.h"
#include "quic.h"
#include "rtp.h"
#include "tcp.h"

static __always_inline void inspect(void *data, void *end, struct scratch *s, struct control *c, struct flow *f, u32 d,
				    u32 keep)
{
	if ((u16)f->epoch != (u16)c->epoch)
		new_epoch(s, c, f);
	if (keep & KEEP_FINE && s->inner.proto != PROTO_TCP)
		fine_clock(s, c);
	count_gap(f, d, s->now_us);
	if (s->payload_length)
		f->payload_packets[d] += SEGMENTS(s);
	if (!s->whole_l4)
		return;
	if (s->inner.proto == PROTO_TCP)
		tcp_segment(data, end, s, c, f, d);
	else if (s->inner.proto == PROTO_UDP && is_dns(s))
		dns_message(data, end, s, c, f);
	else if (s->inner.proto == PROTO_UDP && !quic_packet(data, end, s, c, f, d))
		rtp_packet(data, end, s, f, d);
}

static __always_inline void count_fragment(struct scratch *s, struct flow *f, u32 d)
{
	struct early none = {}, *e;
	u64 number = f->number;

	if (f->frags < 0xffff)
		f->frags++;
	if (!s->inner.more)
		return;
	e = earlies.lookup_or_try_init(&number, &none);
	if (!e)
		return;
	e->packets[d & 1]++;
	e->bytes[d & 1] += s->inner.total;
}

#define OWNER_SILENT_US 1000000 /* longer than a packet is on its way through a UPF that does not wait for its UE */

static __always_inline u32 ways_seen(struct control *c, u32 role)
{
	return c->sees >> 2 * (role - 1) & 3;
}

/* Does the port that counts this direction go on to? It does not where no port of its role is left, nor where those
 * that are left do not see this way any more, this one does, and nothing came there for a while. */
static __always_inline u32 counted_there(struct scratch *s, struct control *c, struct flow *f, u32 d, u32 owner)
{
	u32 there = ways_seen(c, owner), way = f->ue_end == d ? SNF_UPLINK : SNF_DOWNLINK;

	if (!there)
		return 0;
	if (f->ue_end == SNF_UE_UNKNOWN || there >> way & 1 || !(ways_seen(c, s->role) >> way & 1))
		return 1;
	return (s32)(s->now_us - f->last_us[d]) < OWNER_SILENT_US;
}

/* Count the packet for its flow. Returns one of enum want, perhaps with WANT_MEDIA. */
static __always_inline u32 count(void *data, void *end, struct scratch *s, struct control *c, struct port_stats *st,
				 struct flow *f)
{
	u32 d = s->dir & 1, owner = f->owner >> 2 * d & 3;
	struct policy *policy;
	u32 app, media = 0;

	if (owner && owner != s->role) {
		if (counted_there(s, c, f, d, owner)) {
			st->n[SNF_C_copy] += SEGMENTS(s);
			return 0;
		}
		f->owner &= ~FLOW_OWNER(d);
		owner = 0;
	}
	if (!owner)
		f->owner |= s->role << 2 * d;
	st->n[SNF_C_counted] += SEGMENTS(s);
	st->n[SNF_C_counted_octets] += s->inner.total;
	if (!(f->flags & FLOW_FINAL) && f->left != LEFT_AT_FIRST && f->asked != (u8)c->answers)
		adopt_verdict(s, c, f);
	app = (f->group & (SNF_GROUPS - 1)) * SNF_APPS + (f->app & (SNF_APPS - 1));
	policy = policies.lookup(&app);
	if (!policy)
		return 0;
	s->snap_length = policy->snap_length;
	if (policy->action == SNF_INSPECT || policy->action == SNF_TRUNCATE) {
		inspect(data, end, s, c, f, d, policy->keep);
		if (policy->keep & (KEEP_DETAIL | KEEP_GROWN) && has_detail(s, f, policy->keep)) {
			s->keep = policy->keep;
			media = WANT_MEDIA;
		}
	}
	if (s->inner.fragment)
		count_fragment(s, f, d);
	f->bytes[d] += s->inner.total;
	f->packets[d] += SEGMENTS(s);
	if (f->last_us[d] - s->now_us > TICK_MAX_US) /* a tick may be earlier than an exact time before it */
		f->last_us[d] = s->now_us;
	return media | wanted(data, end, s, c, f, d);
}

#endif
