// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The packet path: parse, decapsulate, find the flow, count, decide.
 *
 * One entry for each role of a port: snf_n3 (GTP-U), snf_n6 (plain IP) and snf_any
 * (both, for captures that hold everything). They differ in a constant only.
 * With -DREPLAY the clock is the capture's (clock.h); nothing else changes.
 */
#include "action.h"
#include "copies.h"
#include "count.h"
#include "fragments.h"
#include "gtpu.h"
#include "handoff.h"
#include "loss.h"
#include "naming.h"
#include "outer.h"
#include "path.h"
#include "psc.h"
#include "transit.h"

static u64 (*ktime_get_coarse_ns)(void) = (void *)160; /* Linux 5.11; bcc 0.18 has no name for it */

#define PORT_PFCP 8805 /* TS 29.244, 6.4 */
#define PORT_GTPC 2123 /* TS 29.274, 4.2 */

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

/* A tunnel packet: s->off at the UDP header. Returns 0 when s->inner holds user data, else a counter;
 * *plain when the datagram carries none: it is of the path between the tunnel's ends, or no GTP-U at all. */
static __always_inline u32 open_tunnel(void *data, void *end, struct scratch *s, struct port_stats *st, u32 *plain)
{
	u32 why = parse_gtpu(data, end, s), result;

	*plain = why == SNF_C_gtpu_version || is_message(why);
	if (why != SNF_C_gtpu_gpdu)
		return why;
	*plain = 0;
	st->n[SNF_C_gtpu_gpdu]++;
	s->gtpu = 1;
	s->inner_off = s->off;
	if (s->off >= s->gtpu_end)
		return SNF_C_inner_truncated;
	FORGET();
	result = parse_ip(data, end, s, &s->inner, 0, s->gtpu_end);
	if (!result && s->inner.end > s->gtpu_end)
		return SNF_C_inner_malformed; /* a T-PDU is one packet; a longer one is not in this message */
	return result ? inner_counter(result) : 0;
}

static __always_inline int run(struct xdp_md *ctx, u32 role)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 slot = ctx->ingress_ifindex & (SNF_PORTS - 1), zero = 0, off = 0, keep = 0, plain = 1, copy = 0, result;
	u32 why = SNF_C_not_ip;
	struct port *p = ports.lookup(&slot);
	struct control *c = control.lookup(&zero);
	struct scratch *s = scratch.lookup(&zero);
	struct port_stats *st;
	struct flow *f;
	u16 type;

	if (!p || !c || !s || p->ifindex != ctx->ingress_ifindex)
		return XDP_PASS;
	slot = p->slot;
	st = stats.lookup(&slot);
	if (!st)
		return XDP_PASS;
	type = s->start_type;
	if (type) { /* this is the packet that outer.h found in a frame */
		s->start_type = 0;
		if (type == START_INNER)
			goto opened;
	} else {
		begin_frame(ctx, s, c, st);
		s->role = role;
		s->slot = slot;
		type = parse_l2(data, end, &off, &why);
		if (type != ETH_IPV4 && type != ETH_IPV6)
			goto reason;
		s->start = off;
	}
	s->off = s->start;
	s->gtpu = 0;
	s->qfi = 0;
	s->side = SIDE_UNKNOWN;
	s->psc = 0;
	result = parse_ip(data, end, s, &s->outer, type, s->frame_length);
	FORGET();
	if (result) {
		why = outer_counter(result);
		goto reason;
	}
	if (s->outer.fragment == FRAGMENT_LATER) {
		st->n[SNF_C_outer_fragment]++;
		if (tunnel_fragment(s, 0)) {
			st->n[SNF_C_outer_fragment_known]++;
			return decide(ctx, p, st, s, keep);
		}
		if (role == SNF_N3)
			return decide(ctx, p, st, s, keep);
	} else if (s->outer.proto == PROTO_UDP) {
		u32 at = s->off & MAX_OFFSET;
		u8 *h = data + at;

		if ((void *)h + 8 <= end && at + 8 <= s->outer.end) {
			u16 sport = load16(h), dport = load16(h + 2);

			if (sport == PORT_PFCP || dport == PORT_PFCP || sport == PORT_GTPC || dport == PORT_GTPC) {
				st->n[SNF_C_signalling]++;
				keep = 1;
			} else if (role != SNF_N6 &&
				   (dport == GTPU_PORT || (sport == GTPU_PORT && is_gtpu_answer(data, end, at)))) {
				why = open_tunnel(data, end, s, st, &plain);
				if (why)
					gtpu_path(s, c, CLOCK_NS(c), why);
				if (why == SNF_C_gtpu_error_indication)
					tunnel_refused(data, end, s, CLOCK_NS(c));
				if (why && !(plain && role == SNF_ANY))
					goto reason;
				if (why && why < SNF_C_MAX) { /* on a port of any role it is a packet like others */
					st->n[why]++;
					s->off = at;
					s->qfi = 0;
					s->psc = 0;
					s->side = SIDE_UNKNOWN;
				}
			} else if (dport == PORT_VXLAN && !s->closed) {
				open_outer(ctx, s, OPEN_VXLAN);
				data = (void *)(long)
					       ctx->data; /* Linux 6.12 takes a tail call for a change of the frame */
				end = (void *)(long)ctx->data_end;
			}
		}
	} else if (s->outer.proto == PROTO_GRE && !s->closed) {
		open_outer(ctx, s, OPEN_GRE);
		data = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
	}
	if (!s->gtpu) {
		if (role == SNF_N3) {
			why = SNF_C_not_gtpu;
			goto reason;
		}
		s->inner = s->outer;
	}
opened:
	if (s->gtpu && s->outer.fragment == FRAGMENT_FIRST)
		tunnel_fragment(s, 1);
	if (!parse_l4(data, end, s, &s->inner))
		st->n[s->gtpu ? SNF_C_inner_l4_truncated : SNF_C_l4_truncated]++;
	if (s->gtpu && s->inner.fragment == FRAGMENT_LATER)
		st->n[SNF_C_inner_fragment]++;
	if (s->inner.fragment)
		fragment_ports(s);
	coarse_clock(s, c);
	flow_key(s, c->split_legs);
	if (c->legs && (s->gtpu || role == SNF_ANY || c->split_legs) && passed_before(s, c)) {
		copy = 1;
		if (!c->split_legs) {
			st->n[SNF_C_copy]++;
			return decide(ctx, p, st, s, keep);
		}
	}
	f = flow_of(s, c, st, p->instance, role);
	if (!f) {
		st->n[SNF_C_unflowed]++;
		st->n[SNF_C_unflowed_octets] += s->inner.total;
	} else if (copy) {
		count_leg_copy(f, s->dir);
	}
	if (f) {
		u32 want = count(data, end, s, c, st, f);

		if (c->follow && (s->role == SNF_N3 || s->role == SNF_N6)) {
			fine_clock(s, c);
			transit(s, st, f);
		}
		if (s->psc) {
			fine_clock(s, c);
			psc_measure(data, end, s, st, f->session);
		}
		if (want) {
			s->fresh.number = f->number;
			s->fresh.session = f->session;
			s->fresh.ue_end = f->ue_end;
			s->verdict = keep;
			if (want != WANT_DNS && is_hello(data, end, s))
				next_program.call(ctx, NEXT_TLS);
			full_addresses(&s->inner);
			fine_clock(s, c);
			if (want == WANT_DNS)
				next_program.call(ctx, NEXT_DNS);
			else
				next_program.call(ctx, NEXT_HANDOFF);
		}
	}
	return decide(ctx, p, st, s, keep);
reason:
	if (may_hide(why)) {
		s->why = why;
		next_program.call(ctx, NEXT_OUTER);
	}
	if (why < SNF_C_MAX)
		st->n[why]++;
	return decide(ctx, p, st, s, keep);
}

int snf_n3(struct xdp_md *ctx)
{
	return run(ctx, SNF_N3);
}

int snf_n6(struct xdp_md *ctx)
{
	return run(ctx, SNF_N6);
}

#ifdef REPLAY /* an interface has a role; a capture may hold anything */
int snf_any(struct xdp_md *ctx)
{
	return run(ctx, SNF_ANY);
}
#endif

/* Run once by user space, which then knows what time each tick has. */
int snf_tick(struct xdp_md *ctx)
{
	struct control *c;
	u32 zero = 0;

	c = control.lookup(&zero);
	if (!c)
		return XDP_PASS;
	c->tick = bpf_jiffies64();
	c->tick_ns = ktime_get_coarse_ns();
	return XDP_PASS;
}

int snf_monitor(struct xdp_md *ctx)
{
	struct frame in;

	if (!enter(ctx, &in, ASKS_PORT))
		return XDP_DROP;
	return monitor(ctx, in.p, in.st, in.s);
}
