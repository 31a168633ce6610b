/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The delay inside the UPF: the same packet seen on N3 and on N6. One packet in sixteen is followed, by a hash of what
 * both sides have of it, and those that open a TCP connection. A UPF that translates addresses cannot be followed.
 */
#ifndef SNF_TRANSIT_H
#define SNF_TRANSIT_H

#include "clock.h"
#include "hash.h"
#include "histogram.h"
#include "parse.h"

#define TRANSIT_SAMPLE 15	  /* a mask on the hash */
#define TRANSIT_MAX_NS 1000000000 /* a second sight later than this is another packet */

static __always_inline u32 packet_hash(struct scratch *s, u32 h)
{
	const u32 *k = (const u32 *)&s->key; /* without the leg */

	h = mix(mix(mix(mix(h, k[0]), k[1]), k[2]), (u32)s->key.proto << 8 | (s->dir & 1));
	h = mix(h, s->inner.ipv6 ? 0 : s->inner.id);
	return mix(mix(mix(h, s->seq), s->ack), s->inner.total);
}

static __always_inline struct transit *transit_of(u32 session)
{
	struct transit none = {}, *t = transits.lookup(&session);

	if (t)
		return t;
	transits.insert(&session, &none);
	return transits.lookup(&session);
}

static __always_inline void transit(struct scratch *s, struct port_stats *st, struct flow *f)
{
	struct transit_sight new = {}, *old;
	struct transit *t;
	u32 side, session = f->session, us, low = packet_hash(s, 0);
	u64 hash, ns;

	if (low & TRANSIT_SAMPLE && !(s->tcp_flags & TCP_SYN))
		return;
	if (f->ue_end == SNF_UE_UNKNOWN || !session)
		return;
	hash = (u64)packet_hash(s, 0x9e3779b9) << 32 | low;
	new.at_ns = s->now_ns;
	new.role = s->role;
	old = sights.lookup(&hash);
	ns = old ? s->now_ns - old->at_ns : 0;
	side = f->ue_end == (s->dir & 1) ? SNF_UPLINK : SNF_DOWNLINK;
	t = transit_of(session);
	if (!t)
		return;
	if (!old || old->role == s->role || ns > TRANSIT_MAX_NS) {
		sights.update(&hash, &new);
		if (s->role == (side == SNF_UPLINK ? SNF_N3 : SNF_N6)) /* the side that it comes from */
			t->seen[side]++;
		return;
	}
	sights.delete(&hash);
	/* from the side it comes from to the one it goes to; ports of one clock may see it the other way round */
	if (old->role != (side == SNF_UPLINK ? SNF_N3 : SNF_N6)) {
		t->seen[side]++;
		return;
	}
	us = ns / NS_PER_US;
	t->sum_us[side] += us;
	t->n[side]++;
	delayed(s, DELAY_UPF_UL + side, us);
	st->n[SNF_C_transit_measured]++;
}

#endif
