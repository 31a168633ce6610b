// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The packet path: parse, decapsulate, find the flow, count, decide.
 *
 * One entry for each role of a port: snf_n3 (GTP-U), snf_n6 (plain IP), snf_mixed (both and signalling, by what
 * each packet is) and snf_any (for captures that hold anything). They differ in a constant only.
 * With -DREPLAY the clock is the capture's (clock.h); nothing else changes.
 */
#include "action.h"
#include "copies.h"
#include "count.h"
#include "fragments.h"
#include "gtpu.h"
#include "handoff.h"
#include "line.h"
#ifndef EGRESS
#include "loss.h"
#endif
#include "media.h"
#include "naming.h"
#include "outer.h"
#include "path.h"
#include "psc.h"
#include "transit.h"

static u64 (*ktime_get_coarse_ns)(void) = (void *)160; /* Linux 5.11; not every bcc has a name for it */

#define PORT_PFCP 8805 /* TS 29.244, 6.4 */
#define PORT_GTPC 2123 /* TS 29.274, 4.2 */
#define PORT_ACCT 1813 /* RFC 2866, 3 */

#define PROTO_SCTP 132 /* of NGAP: TS 38.412, 7 */

static __always_inline u32 inner_counter(u32 result)
{
	return result == PARSE_TRUNCATED   ? SNF_C_inner_truncated
	       : result == PARSE_MALFORMED ? SNF_C_inner_malformed
	       : result == PARSE_TOO_LONG  ? SNF_C_inner_ext_too_long
					   : SNF_C_inner_not_ip;
}

static __always_inline u32 outer_counter(u32 result)
{
	return result == PARSE_TRUNCATED   ? SNF_C_ip_truncated
	       : result == PARSE_MALFORMED ? SNF_C_ip_malformed
	       : result == PARSE_TOO_LONG  ? SNF_C_ip_ext_too_long
					   : SNF_C_not_ip;
}

/* A tunnel packet: s->off at the UDP header. Returns 0 when s->inner holds user data, else a counter. */
static __always_inline u32 open_tunnel(void *data, void *end, struct frame *in)
{
	struct scratch *s = in->s;
	u32 why = parse_gtpu(data, end, s), result;

	if (why != SNF_C_gtpu_gpdu)
		return why;
	in->st->n[SNF_C_gtpu_gpdu]++;
	s->gtpu = IN_TUNNEL;
	s->inner_off = s->off;
	if (s->off >= s->gtpu_end)
		return SNF_C_inner_truncated;
	FORGET();
	result = parse_ip(data, end, s, &s->inner, 0, s->gtpu_end);
	if (!result && s->inner.end > s->gtpu_end)
		return SNF_C_inner_malformed; /* a T-PDU is one packet; a longer one is not in this message */
	return result ? inner_counter(result) : 0;
}

/* As open_tunnel(). What carries no user data is of the path between the tunnel's ends, or no GTP-U at all: on a port
 * of any role it is a packet like others as well. */
static __always_inline u32 tunnel(void *data, void *end, struct frame *in, u32 role)
{
	struct scratch *s = in->s;
	struct control *c = in->c;
	u32 at = s->off, why = open_tunnel(data, end, in);

	if (!why)
		return 0;
	gtpu_path(s, c, CLOCK_NS(c), why);
	if (why == SNF_C_gtpu_error_indication)
		tunnel_refused(data, end, s, CLOCK_NS(c));
	if (role == SNF_MIXED ? why != SNF_C_gtpu_version
			      : role != SNF_ANY || (why != SNF_C_gtpu_version && !is_message(why)))
		return why;
	in->st->n[why]++;
	s->off = at;
	s->qfi = 0;
	s->psc = 0;
	s->side = SIDE_UNKNOWN;
	return 0;
}

static __always_inline u32 is_signalling(u16 sport, u16 dport)
{
	return sport == PORT_PFCP || dport == PORT_PFCP || sport == PORT_GTPC || dport == PORT_GTPC;
}

/* Signalling of a port that carries N3 and N6 as well: of no subscriber, and passed on to who listens. Returns that it
 * is counted. */
static __always_inline u32 take_signalling(struct frame *in)
{
	struct scratch *s = in->s;

	s->signalling = 1;
	if (s->outer.fragment == FRAGMENT_LATER)
		return SNF_C_MAX;
	in->st->n[SNF_C_signalling]++;
	if (s->outer.fragment == FRAGMENT_FIRST)
		outer_fragment(s, 1, FRAGMENT_OF_SIGNALLING);
	return SNF_C_MAX;
}

static __always_inline u32 is_tunnel(void *data, void *end, u32 at, u16 sport, u16 dport)
{
	return dport == GTPU_PORT || (sport == GTPU_PORT && is_gtpu_answer(data, end, at));
}

/* s->off at a UDP header. Returns 0 when the packet, or what is in its tunnel, is to be counted for a flow. */
static __always_inline u32 datagram(hook *ctx, void *data, void *end, struct frame *in, u32 role)
{
	struct scratch *s = in->s;
	u32 at = s->off & MAX_OFFSET;
	u8 *h = data + at;
	u16 sport, dport;

	if ((void *)h + 8 > end || at + 8 > s->outer.end)
		return 0;
	sport = load16(h);
	dport = load16(h + 2);
	if (role == SNF_MIXED && (is_signalling(sport, dport) || sport == PORT_ACCT || dport == PORT_ACCT))
		return take_signalling(in);
	if (is_signalling(sport, dport)) {
		in->st->n[SNF_C_signalling]++;
		s->signalling = 1;
	} else if (role != SNF_N6 && is_tunnel(data, end, at, sport, dport)) {
		return tunnel(data, end, in, role);
	} else if (dport == PORT_VXLAN && !s->closed) {
		open_outer(ctx, s, OPEN_VXLAN);
	}
	return 0;
}

/* Nothing of a later fragment is left to count where its datagram was counted as a whole, or on N3, where nobody is
 * known without a TEID. */
static __always_inline u32 fragment_counted(struct frame *in, u32 role)
{
	in->st->n[SNF_C_outer_fragment]++;
	if (tunnel_fragment(in->s, 0)) {
		in->st->n[SNF_C_outer_fragment_known]++;
		return 1;
	}
	return role == SNF_N3;
}

/* The packet at s->start, of ethertype *type*. Returns 0 when s->inner is to be counted for a flow, else the counter
 * that says why not; SNF_C_MAX when that is counted already. */
static __always_inline u32 open_packet(hook *ctx, void *data, void *end, struct frame *in, u32 role, u16 type)
{
	struct scratch *s = in->s;
	u32 result;

	s->off = s->start;
	s->gtpu = 0;
	s->qfi = 0;
	s->side = SIDE_UNKNOWN;
	s->psc = 0;
	result = parse_ip(data, end, s, &s->outer, type, s->frame_length);
	FORGET();
	if (result)
		return outer_counter(result);
	if (role == SNF_MIXED && s->outer.proto == PROTO_SCTP)
		return take_signalling(in);
	if (s->outer.fragment == FRAGMENT_LATER) {
		if (fragment_counted(in, role))
			return SNF_C_MAX;
		if (role == SNF_MIXED && s->outer.proto == PROTO_UDP) {
			if (outer_fragment(s, 0, FRAGMENT_OF_SIGNALLING))
				return take_signalling(in);
			s->signalling = !fragment_read(s); /* its first one may come later: who listens joins them */
		}
	} else if (s->outer.proto == PROTO_UDP) {
		result = datagram(ctx, data, end, in, role);
		if (result)
			return result;
	} else if (s->outer.proto == PROTO_GRE && !s->closed) {
		open_outer(ctx, s, OPEN_GRE);
	}
	if (s->gtpu)
		return 0;
	if (role == SNF_N3)
		return SNF_C_not_gtpu;
	s->inner = s->outer;
	return 0;
}

/* Find the packet of a frame, and what of it is to be counted for a flow. Returns as open_packet(). */
static __always_inline u32 open_frame(hook *ctx, struct frame *in, u32 role)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 off = 0, why = SNF_C_not_ip;
	struct scratch *s = in->s;
	u16 type = s->start_type;

	s->signalling = 0;
	if (type) { /* this is the packet that outer.h found in a frame */
		s->start_type = 0;
		if (type == START_INNER)
			return 0;
	} else {
		begin_frame(ctx, s, in->c, in->st);
		s->role = role;
		s->slot = in->p->slot;
		type = parse_l2(data, end, &off, &why);
		if (type != ETH_IPV4 && type != ETH_IPV6)
			return why;
		s->start = off;
	}
	return open_packet(ctx, data, end, in, role, type);
}

/* Ports, and of a fragment those of its datagram. */
static __always_inline void read_transport(void *data, void *end, struct frame *in)
{
	struct scratch *s = in->s;

	if (s->gtpu && s->outer.fragment == FRAGMENT_FIRST)
		tunnel_fragment(s, 1);
	if (!parse_l4(data, end, s, &s->inner))
		in->st->n[s->gtpu ? SNF_C_inner_l4_truncated : SNF_C_l4_truncated]++;
	if (s->gtpu && s->inner.fragment == FRAGMENT_LATER)
		in->st->n[SNF_C_inner_fragment]++;
	if (s->inner.fragment)
		fragment_ports(s);
}

#ifdef EGRESS
/* What the host sends as one packet and its driver cuts into several: all count, with the headers of each. */
static __always_inline void count_segments(hook *ctx, struct frame *in)
{
	struct scratch *s = in->s;
	u32 size = ctx->gso_size, headers = s->payload_off - (s->inner.end - s->inner.total);

	s->segments = 1;
	if (!size || !s->whole_l4 || !s->payload_length)
		return;
	if (s->gtpu && s->gtpu_end < s->frame_length) { /* each segment is a tunnel packet of its own */
		in->st->n[SNF_C_joined_unread]++;
		return;
	}
	s->segments = (s->payload_length + size - 1) / size;
	s->inner.total += (s->segments - 1) * headers;
}
#endif

/* Did the packet pass in another tunnel already, where there are several on its way? */
static __always_inline u32 is_copy(struct frame *in, u32 role)
{
	struct control *c = in->c;

	return c->legs && (in->s->gtpu || role == SNF_ANY || c->split_legs) && passed_before(in->s, c);
}

/* What is timed of the way through the network, beside what the flow's own protocol says. */
static __always_inline void time_the_way(void *data, void *end, struct frame *in, struct flow *f)
{
	struct scratch *s = in->s;

	s->delayed = 0;
	if (in->c->follow && (s->role == SNF_N3 || s->role == SNF_N6)) {
		fine_clock(s, in->c);
		transit(s, in->st, f);
	}
	if (s->psc) {
		fine_clock(s, in->c);
		psc_measure(data, end, s, in->st, f->session);
	}
	if (IN_MEMORY(s->delayed))
		count_delays(s, in->c, f->session);
}

/* Count the packet for its flow, time its way, and let its payload be read. */
static __always_inline void follow_flow(hook *ctx, void *data, void *end, struct frame *in, u32 role, u32 copy)
{
	struct flow *f = flow_of(in->s, in->c, in->st, in->p->instance, role);
	u32 want;

	if (!f) {
		in->st->n[SNF_C_unflowed] += SEGMENTS(in->s);
		in->st->n[SNF_C_unflowed_octets] += in->s->inner.total;
		return;
	}
	if (copy)
		count_copy(f, in->s->dir);
	/* Through memory, so that the verifier goes through what follows once. */
	IN_MEMORY(in->s->want) = count(data, end, in->s, in->c, in->st, f);
	FORGET();
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	time_the_way(data, end, in, f);
	want = IN_MEMORY(in->s->want);
	if (want & WANT_MEDIA) {
		in->s->want = want & ~WANT_MEDIA;
		next_program.call(ctx, NEXT_MEDIA);
	} else if (want)
		read_payload(ctx, data, end, in, f, want);
}

/* A frame of which nothing is counted for a flow: by its counter, when outer.h finds no more in it. */
static __always_inline int leave(hook *ctx, struct frame *in, u32 why)
{
	if (may_hide(why)) {
		in->s->why = why;
		next_program.call(ctx, NEXT_OUTER);
	}
	if (why < SNF_C_MAX)
		in->st->n[why] += FRAMES(ctx);
	return decide(ctx, in, in->s->signalling);
}

static __always_inline int run(hook *ctx, u32 role)
{
	void *data, *end;
	struct frame in;
	u32 why, copy;

	make_linear(ctx);
	if (!enter(ctx, &in, ASKS_CONTROL) || in.p->ifindex != PORT_OF(ctx))
		return HOOK_PASS;
	why = open_frame(ctx, &in, role);
	if (why)
		return leave(ctx, &in, why);
	if (role == SNF_MIXED) /* from here on it is a packet of one of two ports */
		in.s->role = in.s->gtpu ? SNF_N3 : SNF_N6;
	data = (void *)(long)ctx->data; /* Linux 6.12 takes a tail call for a change of the frame */
	end = (void *)(long)ctx->data_end;
	read_transport(data, end, &in);
#ifdef EGRESS
	count_segments(ctx, &in);
#endif
	if (role != SNF_N3 && in.c->lines && !in.s->gtpu)
		read_line(data, end, in.s);
	coarse_clock(in.s, in.c);
	flow_key(in.s, in.c);
	copy = is_copy(&in, role);
	if (copy && !in.c->split_legs)
		in.st->n[SNF_C_copy] += SEGMENTS(in.s);
	else
		follow_flow(ctx, data, end, &in, role, copy);
	return decide(ctx, &in, in.s->signalling);
}

int snf_n3(hook *ctx)
{
	return run(ctx, SNF_N3);
}

int snf_n6(hook *ctx)
{
	return run(ctx, SNF_N6);
}

int snf_mixed(hook *ctx)
{
	return run(ctx, SNF_MIXED);
}

#ifdef REPLAY /* an interface has a role; a capture may hold anything */
int snf_any(hook *ctx)
{
	return run(ctx, SNF_ANY);
}
#endif

#ifndef EGRESS
/* Run once by user space, which then knows what time each tick has. */
int snf_tick(hook *ctx)
{
	struct control *c;
	u32 zero = 0;

	c = control.lookup(&zero);
	if (!c)
		return HOOK_PASS;
	c->tick = bpf_jiffies64();
	c->tick_ns = ktime_get_coarse_ns();
	return HOOK_PASS;
}

int snf_monitor(hook *ctx)
{
	struct frame in;

	if (!enter(ctx, &in, ASKS_PORT))
		return HOOK_DROP;
	return monitor(ctx, &in);
}
#endif
