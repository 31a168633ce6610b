/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* From a parsed packet to its flow: key, session, birth and rebirth. */
#ifndef SNF_FLOW_H
#define SNF_FLOW_H

#include "answers.h"
#include "flow_table.h"
#include "limit.h"
#include "session.h"

#define FLOW_OWNER(d)	(3 << 2 * (d)) /* bits of flow.owner */
#define HELLOS_SHIFT(d) (4 + 2 * (d))  /* and above them */
#define LEFT_SHIFT(d)	(4 * (d))
#define LEFT_AT_FIRST	(SNF_HANDOFF << 4 | SNF_HANDOFF)

/* Nothing more is handed over, but user space may still say what the flow is. */
static __always_inline void hand_no_more(struct flow *f)
{
	f->left = 0;
	f->owner |= 0xf << HELLOS_SHIFT(0);
}

/* How many payloads of direction d may still be handed over? */
static __always_inline u32 left(struct flow *f, u32 d)
{
	return f->left >> LEFT_SHIFT(d) & 15;
}

/* Build s->key, its hash and s->dir from the inner packet. Ends are ordered, so both directions give one key. */
static __always_inline void flow_key(struct scratch *s, struct control *c)
{
	u32 from = s->inner.ipv6 ? fold(s->inner.src) : ipv4(s->inner.src);
	u32 to = s->inner.ipv6 ? fold(s->inner.dst) : ipv4(s->inner.dst);
	struct flow_key *k = &s->key;

	s->dir = from > to || (from == to && s->sport > s->dport);
	k->a = s->dir ? to : from;
	k->b = s->dir ? from : to;
	k->port_a = s->dir ? s->dport : s->sport;
	k->port_b = s->dir ? s->sport : s->dport;
	k->proto = s->inner.proto;
	k->ipv6 = s->inner.ipv6;
	k->leg = 0;
	if (c->split_legs && s->gtpu) {
		u32 pair;

		full_addresses(&s->outer);
		pair = mix(0, fold(s->outer.src)) + mix(0, fold(s->outer.dst));

		k->leg = (u16)(pair ^ pair >> 16) | 1;
	}
	hash_flow(s, c);
}

/* Returns 1 when user space will hear of it. */
static __always_inline u32 emit_event(struct scratch *s, struct flow *f, struct port_stats *st, u8 kind)
{
	void *ring = ring_of(SNF_RING_EVENTS);
	struct flow_event *e = ring ? bpf_ringbuf_reserve(ring, sizeof(*e), 0) : NULL;
	u32 from_b = !!(s->dir & 1);

	if (!e) {
		st->n[SNF_C_event_ring_full]++;
		return 0;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->number = f->number;
	e->at_ns = s->now_ns;
	e->key = s->key;
	__builtin_memcpy(e->address_a, from_b ? s->inner.dst : s->inner.src, 16);
	__builtin_memcpy(e->address_b, from_b ? s->inner.src : s->inner.dst, 16);
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
	e->first_dir = !!(f->flags & FLOW_FIRST_B);
	e->ue_end = f->ue_end;
	e->ttl = s->inner.ttl;
	e->place = s->place;
	if (kind == SNF_FLOW_NEW && s->name_hash) {
		e->app = f->app;
		e->name = s->name_hash;
	}
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 1;
}

/* Tell the reader of a flow; when that fails its next packet tries again. */
static __always_inline void tell(struct scratch *s, struct control *c, struct flow *f, struct port_stats *st)
{
	fine_clock(s, c);
	full_addresses(&s->inner);
	full_addresses(&s->outer);
	if (emit_event(s, f, st, SNF_FLOW_NEW))
		f->flags = (f->flags & ~FLOW_READER) | c->reader;
}

/* Another flow takes this one's place: what it counted goes to user space. Returns 1 when user space will hear of it.
 */
static __always_inline u32 tell_end(struct scratch *s, struct flow *f, struct port_stats *st)
{
	void *ring = ring_of(SNF_RING_ENDED);
	struct ended *e = ring ? bpf_ringbuf_reserve(ring, sizeof(*e), 0) : NULL;

	if (!e) {
		st->n[SNF_C_ended_ring_full]++;
		return 0;
	}
	e->key = s->key;
	__builtin_memcpy(&e->flow, f, sizeof(e->flow));
	e->place = s->place;
	e->pad = 0;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return 1;
}

/* A second hash of both ends, so that two IPv6 flows with one key are told apart. */
static __always_inline u32 ends_check(struct scratch *s, struct control *c)
{
	const u32 *a = (const u32 *)(s->dir ? s->inner.dst : s->inner.src);
	const u32 *b = (const u32 *)(s->dir ? s->inner.src : s->inner.dst);
	u32 h = c->seed;

	h = mix(mix(mix(mix(h, a[0]), a[1]), a[2]), a[3]);
	return mix(mix(mix(mix(h, b[0]), b[1]), b[2]), b[3]);
}

static __always_inline u8 ue_end_of(u8 side, u8 dir)
{
	if (side == SIDE_UNKNOWN)
		return SNF_UE_UNKNOWN;
	return side == SNF_UPLINK ? dir : !dir; /* uplink: the sender is the UE; direction 0 is sent by a */
}

/* The initial sequence number of who opens a connection, as its SYN or the answer to that says it. It is the name of
 * the connection among those of the same ends (RFC 9293, 3.4.1). */
static __always_inline u32 client_isn(struct scratch *s)
{
	return s->tcp_flags & TCP_ACK ? s->ack - 1 : s->seq;
}

/* The direction of who opens it. */
static __always_inline u32 client_dir(struct scratch *s)
{
	return (s->tcp_flags & TCP_ACK ? !s->dir : s->dir) & 1;
}

/* Does this SYN, or this answer to one that did not pass here, open another connection than the one that the flow is
 * (RFC 9293, 3.6.1)? The same SYN again does not, nor does the SYN of the other end while both are opening. */
static __always_inline u32 opens_another(struct scratch *s, struct flow *f)
{
	struct tcp_state *t = &f->transport.tcp;
	u32 seen = t->seen[0] | t->seen[1], answer = s->tcp_flags & TCP_ACK;

	if (!(seen & TCP_CLIENT)) /* the flow was met in the middle of a connection */
		return !answer || f->packets[s->dir & 1];
	if (!(t->seen[client_dir(s)] & TCP_CLIENT))
		return !(seen & TCP_OPEN);
	if (answer) /* it acknowledges the data of the SYN as well, or does not (RFC 7413, 4.2.2) */
		return !(seen & TCP_OPEN) && client_isn(s) - t->isn > 0xffff;
	return s->seq != t->isn;
}

/* Fill s->fresh with a flow that has seen nothing yet. */
static __always_inline void fresh_flow(struct scratch *s, struct control *c)
{
	struct flow *f = &s->fresh;

	__builtin_memset(f, 0, sizeof(*f));
	f->session = s->session;
	f->group = s->group;
	f->generation = generation(s, c);
	f->ue_end = ue_end_of(s->way, s->dir);
	f->epoch = c->epoch;
	f->rtt_min_us[0] = f->rtt_min_us[1] = NO_RTT;
	f->left = LEFT_AT_FIRST;
	f->number = __sync_fetch_and_add(&c->next_flow, 1);
	if (s->inner.ipv6)
		f->check = ends_check(s, c);
	if (s->tcp_flags & TCP_SYN) {
		f->transport.tcp.isn = client_isn(s);
		f->transport.tcp.seen[client_dir(s)] = TCP_CLIENT;
	}
	f->flags = s->dir ? FLOW_FIRST_B : 0;
	f->qfi[s->dir & 1] = s->qfi;
	if (s->gtpu) {
		f->flags |= FLOW_GTPU;
		f->teid[s->dir & 1] = s->teid;
		if (s->session)
			f->flags |= s->dir ? FLOW_BOUND_1 : FLOW_BOUND_0;
	}
}

/* Begin a flow; in the place of *old*, when that is the connection before between the same ends. */
static __always_inline struct flow *flow_begin(struct scratch *s, struct control *c, struct port_stats *st,
					       struct flow *old)
{
	struct flow *f = old;

	if (!s->session && over_limit(s->slot, c, s->now_ns)) {
		st->n[SNF_C_unknown_limited]++;
		return old;
	}
	if (!s->session && s->gtpu)
		st->n[SNF_C_tunnel_unknown]++;
	fresh_flow(s, c);
	s->name_hash = 0;
	if (c->economy)
		name_by_answer(s, st, &s->fresh, s->session, s->way);
	if (old) {
		if (!tell_end(s, old, st))
			return old; /* its counts would be lost: both are one flow */
		/* copies of its last packets may still come, and are to be none of the new one */
		s->fresh.owner = old->owner & (FLOW_OWNER(0) | FLOW_OWNER(1));
		__builtin_memcpy(old, &s->fresh, sizeof(*old));
		st->n[SNF_C_flow_reopened]++;
	} else {
		f = insert_flow(s, c, st);
		if (!f) {
			st->n[SNF_C_flow_full]++;
			return NULL;
		}
		if (f->number != s->fresh.number) /* another CPU began it, and tells of it */
			return f;
	}
	st->n[SNF_C_flow_new]++;
	if (s->inner.proto == PROTO_TCP && !(s->tcp_flags & TCP_SYN))
		st->n[SNF_C_tcp_midway]++;
	tell(s, c, f, st);
	return f;
}

/* The tunnel of the flow now belongs to another session, or to none: what was counted so far stays
 * with the old one, and the flow begins again. */
static __always_inline void flow_restart(struct scratch *s, struct control *c, struct port_stats *st, struct flow *f)
{
	tell_end(s, f, st);
	fresh_flow(s, c);
	if (emit_event(s, &s->fresh, st, SNF_FLOW_RESTART))
		s->fresh.flags |= c->reader;
	__builtin_memcpy(f, &s->fresh, sizeof(*f));
	st->n[SNF_C_flow_restarted]++;
}

static __always_inline void adopt_verdict(struct scratch *s, struct control *c, struct flow *f)
{
	u32 at = s->place / SNF_FLOWS;
	u64 n = bounded(s->place % SNF_FLOWS);
	struct flow_bucket *b;
	struct verdict *v;

	f->asked = c->answers; /* before the verdict is: one that comes meanwhile is found by the next packet */
	b = flow_buckets.lookup(&at);
	if (!b || n >= SNF_FLOWS)
		return;
	v = &b->verdicts[n];
	if (v->flow != (u32)f->number)
		return;
	f->app = v->app;
	if (v->final)
		f->flags |= FLOW_FINAL;
}

/* The TEID or the generation is not the one that the flow remembers. */
static __always_inline void flow_rebind(struct scratch *s, struct control *c, struct port_stats *st, struct flow *f)
{
	u8 bound = s->dir ? FLOW_BOUND_1 : FLOW_BOUND_0;
	u32 moved = s->gtpu && f->teid[s->dir & 1] != s->teid;
	u32 session = s->session;

	f->generation = generation(s, c);
	adopt_verdict(s, c, f); /* the last word may have been taken back with the signatures */
	if (f->session < c->first_session) {
		f->session = 0;
		f->flags &= ~(FLOW_BOUND_0 | FLOW_BOUND_1);
	}
	if (session ? f->session && session != f->session : f->session && !moved && f->flags & bound) {
		flow_restart(s, c, st, f);
		return;
	}
	if (session) {
		f->session = session;
		f->group = s->group;
		f->flags |= bound;
	} else if (moved) {
		if (over_limit(s->slot, c, s->now_ns)) {
			st->n[SNF_C_unknown_limited]++;
			return;
		}
		f->flags &= ~bound;
		st->n[SNF_C_tunnel_unknown]++;
	}
	if (s->way != SIDE_UNKNOWN)
		f->ue_end = ue_end_of(s->way, s->dir);
	if (moved) {
		f->teid[s->dir & 1] = s->teid;
		f->flags |= FLOW_GTPU;
		emit_event(s, f, st, SNF_FLOW_TUNNEL);
	}
}

/* The flow of the packet in s, bound to its session; NULL when it can have none. */
static __always_inline struct flow *flow_of(struct scratch *s, struct control *c, struct port_stats *st, u32 instance,
					    u32 role)
{
	struct flow *f = find_flow(s, c);
	u32 another;

	if (f && s->inner.ipv6 && f->check != ends_check(s, c)) {
		st->n[SNF_C_flow_collision]++;
		return NULL;
	}
	another = f && s->tcp_flags & TCP_SYN && opens_another(s, f);
	if (!f || another || f->generation != generation(s, c) || (s->gtpu && f->teid[s->dir & 1] != s->teid)) {
		fine_clock(s, c);
		full_addresses(&s->inner);
		full_addresses(&s->outer);
		look_session_up(s, c, st, instance, role);
		if (s->side != SIDE_UNKNOWN) /* the PDU Session Container is the packet's own word */
			s->way = s->side;
		f = flow_there(s);
		if (!f || another)
			return flow_begin(s, c, st, f);
		flow_rebind(s, c, st, f);
	}
	if ((f->flags & FLOW_READER) != c->reader) {
		s->name_hash = 0;
		tell(s, c, f, st);
	}
	if (s->qfi)
		f->qfi[s->dir & 1] = s->qfi;
	return f;
}

#endif
