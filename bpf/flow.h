/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* From a parsed packet to its flow: key, session, birth and rebirth. */
#ifndef SNF_FLOW_H
#define SNF_FLOW_H

#include "gtpu.h"

#define NO_RTT 0xffffffff

static __always_inline u32 mix(u32 h, u32 v)
{
	h ^= v;
	h *= 0x9e3779b1; /* 2^32 divided by the golden ratio: spreads neighbours (Knuth, TAOCP 3, 6.4) */
	return h ^ h >> 15;
}

static __always_inline u32 fold(const u8 *address)
{
	const u32 *w = (const u32 *)address;

	return mix(mix(mix(mix(0, w[0]), w[1]), w[2]), w[3]);
}

/* The ports of a fragment: the first one has them and leaves them for the later ones. The last to come is
 * the one that completes the datagram, whichever it is. */
static __always_inline void fragment_ports(struct scratch *s)
{
	struct fragment_key k;
	struct fragment new = {}, *known;

	if (s->inner.proto != PROTO_TCP && s->inner.proto != PROTO_UDP)
		return;
	__builtin_memcpy(k.src, s->inner.src, 16);
	__builtin_memcpy(k.dst, s->inner.dst, 16);
	k.id = s->inner.id;
	k.proto = s->inner.proto;
	if (s->gtpu) /* the copy of the datagram on another leg has fragments of its own */
		k.proto |= fold(s->outer.dst) << 8;
	known = fragments.lookup(&k);
	if (s->inner.fragment == FRAGMENT_FIRST) {
		new.ports = (u32)s->dport << 16 | s->sport;
		if (known && known->last)
			s->inner.more = 0;
		fragments.update(&k, &new);
	} else if (known && known->ports) {
		s->sport = (u16)known->ports;
		s->dport = known->ports >> 16;
	} else if (!s->inner.more) {
		new.last = 1;
		fragments.update(&k, &new);
	}
}

/* Build s->key and s->dir from the inner packet. Ends are ordered, so both directions give one key. */
static __always_inline void flow_key(struct scratch *s, u32 split_legs)
{
	u32 from = s->inner.ipv6 ? fold(s->inner.src) : s->inner.src4;
	u32 to = s->inner.ipv6 ? fold(s->inner.dst) : s->inner.dst4;
	struct flow_key *k = &s->key;

	s->dir = from > to || (from == to && s->sport > s->dport);
	k->a = s->dir ? to : from;
	k->b = s->dir ? from : to;
	k->port_a = s->dir ? s->dport : s->sport;
	k->port_b = s->dir ? s->sport : s->dport;
	k->proto = s->inner.proto;
	k->ipv6 = s->inner.ipv6;
	k->leg = 0;
	if (split_legs && s->gtpu) {
		u32 pair = mix(0, fold(s->outer.src)) + mix(0, fold(s->outer.dst));

		k->leg = (u16)(pair ^ pair >> 16) | 1;
	}
}

/* Is the inner packet of the UE that the tunnel is for? A TEID that was given to another UE is seen here
 * even before the signalling that says so. Link-local addresses belong to any UE. */
static __always_inline u32 is_of_ue(struct scratch *s, struct tunnel *t)
{
	const u8 *ue = t->side == SNF_UPLINK ? s->inner.src : s->inner.dst;

	if (!s->inner.ipv6)
		return !t->ue_ipv4 || t->ue_ipv4 == *(u32 *)(ue + 12);
	return !t->ue_ipv6 || t->ue_ipv6 == *(u64 *)ue || (ue[0] == 0xfe && (ue[1] & 0xc0) == 0x80);
}

/* The session that the packet's tunnel, or on N6 its UE address, belongs to; 0 when none is known. */
static __always_inline u32 session_of(struct scratch *s, struct port_stats *st, u32 instance, u8 *side)
{
	if (s->gtpu) {
		struct tunnel_key k;
		struct tunnel *t;

		__builtin_memcpy(k.address, s->outer.dst, 16);
		k.teid = s->teid;
		t = tunnels.lookup(&k);
		if (!t)
			return 0;
		*side = t->side;
		if (!is_of_ue(s, t)) {
			st->n[SNF_C_ue_mismatch]++;
			return 0;
		}
		return t->session;
	} else {
		struct ue_key k;
		u32 *session;

		k.instance = instance;
		__builtin_memcpy(k.address, s->inner.src, 16);
		if (s->inner.ipv6)
			__builtin_memset(k.address + 8, 0, 8);
		session = ues.lookup(&k);
		if (session) {
			*side = SNF_UPLINK;
			return *session;
		}
		__builtin_memcpy(k.address, s->inner.dst, 16);
		if (s->inner.ipv6)
			__builtin_memset(k.address + 8, 0, 8);
		session = ues.lookup(&k);
		if (session) {
			*side = SNF_DOWNLINK;
			return *session;
		}
	}
	return 0;
}

static __always_inline void emit_event(struct scratch *s, struct flow *f, struct port_stats *st, u8 kind,
				       struct flow *old)
{
	struct flow_event *e = events.ringbuf_reserve(sizeof(*e));

	if (!e) {
		st->n[SNF_C_event_ring_full]++;
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->number = f->number;
	e->at_ns = s->now_ns;
	e->key = s->key;
	__builtin_memcpy(e->address_a, f->address_a, 16);
	__builtin_memcpy(e->address_b, f->address_b, 16);
	if (s->gtpu) {
		__builtin_memcpy(e->outer_src, s->outer.src, 16);
		__builtin_memcpy(e->outer_dst, s->outer.dst, 16);
		e->teid = s->teid;
	}
	e->session = f->session;
	e->kind = kind;
	e->dir = s->dir;
	e->qfi = s->qfi;
	e->role = s->role;
	e->gtpu = s->gtpu;
	if (old) {
		e->old_number = old->number;
		e->old_bytes[0] = old->bytes[0];
		e->old_bytes[1] = old->bytes[1];
		e->old_packets[0] = old->packets[0];
		e->old_packets[1] = old->packets[1];
		e->old_session = old->session;
	}
	events.ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

static __always_inline u8 ue_end_of(u8 side, u8 dir)
{
	if (side == SIDE_UNKNOWN)
		return SNF_UE_UNKNOWN;
	return side == SNF_UPLINK ? dir : !dir; /* uplink: the sender is the UE; direction 0 is sent by a */
}

/* Fill s->fresh with a flow that has seen nothing yet. */
static __always_inline void fresh_flow(struct scratch *s, struct control *c, u32 session, u8 side)
{
	struct flow *f = &s->fresh;

	__builtin_memset(f, 0, sizeof(*f));
	f->session = session;
	f->generation = c->generation;
	f->ue_end = ue_end_of(side, s->dir);
	f->epoch = c->epoch;
	f->rtt_min_us[0] = f->rtt_min_us[1] = NO_RTT;
	f->rtt_epoch_min_us[0] = f->rtt_epoch_min_us[1] = NO_RTT;
	f->first_ns = s->now_ns;
	f->number = __sync_fetch_and_add(&c->next_flow, 1);
	__builtin_memcpy(f->address_a, s->dir ? s->inner.dst : s->inner.src, 16);
	__builtin_memcpy(f->address_b, s->dir ? s->inner.src : s->inner.dst, 16);
	f->first_dir = s->dir;
	f->gtpu = s->gtpu;
	f->qfi[s->dir & 1] = s->qfi;
	if (s->gtpu) {
		f->teid[s->dir & 1] = s->teid;
		if (session)
			f->flags |= s->dir ? FLOW_BOUND_1 : FLOW_BOUND_0;
	}
}

static __always_inline struct flow *flow_begin(struct scratch *s, struct control *c, struct port_stats *st,
					       u32 instance)
{
	u8 side = SIDE_UNKNOWN;
	u32 session = session_of(s, st, instance, &side);
	struct flow *f;

	if (s->side != SIDE_UNKNOWN) /* the PDU Session Container is the packet's own word */
		side = s->side;
	if (!session && s->gtpu)
		st->n[SNF_C_tunnel_unknown]++;
	fresh_flow(s, c, session, side);
	flows.insert(&s->key, &s->fresh);
	f = flows.lookup(&s->key);
	if (!f) {
		st->n[SNF_C_flow_full]++;
		return NULL;
	}
	st->n[SNF_C_flow_new]++;
	emit_event(s, f, st, SNF_FLOW_NEW, NULL);
	return f;
}

/* The tunnel of the flow now belongs to another session, or to none: what was counted so far stays
 * with the old one, and the flow begins again. */
static __always_inline void flow_restart(struct scratch *s, struct control *c, struct port_stats *st, struct flow *f,
					 u32 session, u8 side)
{
	fresh_flow(s, c, session, side);
	emit_event(s, &s->fresh, st, SNF_FLOW_RESTART, f);
	__builtin_memcpy(f, &s->fresh, sizeof(*f));
	st->n[SNF_C_flow_restarted]++;
}

/* Called when the TEID or the generation is not the one the flow remembers. */
static __always_inline void flow_rebind(struct scratch *s, struct control *c, struct port_stats *st, struct flow *f,
					u32 instance)
{
	u8 bound = s->dir ? FLOW_BOUND_1 : FLOW_BOUND_0, side = SIDE_UNKNOWN;
	u32 moved = s->gtpu && f->teid[s->dir & 1] != s->teid;
	u32 session = session_of(s, st, instance, &side);

	if (s->side != SIDE_UNKNOWN)
		side = s->side;
	f->generation = c->generation;
	if (session ? f->session && session != f->session : f->session && !moved && f->flags & bound) {
		flow_restart(s, c, st, f, session, side);
		return;
	}
	if (session) {
		f->session = session;
		f->flags |= bound;
	} else if (moved) {
		f->flags &= ~bound;
		st->n[SNF_C_tunnel_unknown]++;
	}
	if (side != SIDE_UNKNOWN)
		f->ue_end = ue_end_of(side, s->dir);
	if (moved) {
		f->teid[s->dir & 1] = s->teid;
		f->gtpu = 1;
		emit_event(s, f, st, SNF_FLOW_TUNNEL, NULL);
	}
}

static __always_inline u32 same_ends(struct scratch *s, struct flow *f)
{
	const u64 *a = (const u64 *)f->address_a, *b = (const u64 *)f->address_b;
	const u64 *from = (const u64 *)(s->dir ? s->inner.dst : s->inner.src);
	const u64 *to = (const u64 *)(s->dir ? s->inner.src : s->inner.dst);

	return a[0] == from[0] && a[1] == from[1] && b[0] == to[0] && b[1] == to[1];
}

/* The flow of the packet in s, bound to its session; NULL when it can have none. */
static __always_inline struct flow *flow_of(struct scratch *s, struct control *c, struct port_stats *st, u32 instance)
{
	struct flow *f = flows.lookup(&s->key);

	if (!f)
		return flow_begin(s, c, st, instance);
	if (s->inner.ipv6 && !same_ends(s, f)) {
		st->n[SNF_C_flow_collision]++;
		return NULL;
	}
	if (f->generation != c->generation || (s->gtpu && f->teid[s->dir & 1] != s->teid))
		flow_rebind(s, c, st, f, instance);
	if (s->qfi)
		f->qfi[s->dir & 1] = s->qfi;
	return f;
}

#endif
