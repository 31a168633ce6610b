// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The packet path: parse, decapsulate, find the flow, count, decide.
 *
 * One entry for each role of a port: snf_n3 (GTP-U), snf_n6 (plain IP) and snf_any
 * (both, for captures that hold everything). They differ in a constant only.
 * With -DREPLAY the clock is the capture's (clock.h); nothing else changes.
 */
#include "copies.h"
#include "dns_timing.h"
#include "fragments.h"
#include "gtpu.h"
#include "loss.h"
#include "media.h"
#include "naming.h"
#include "outer.h"
#include "path.h"
#include "psc.h"
#include "quic.h"
#include "rtp.h"
#include "tcp.h"
#include "transit.h"

static u64 (*ktime_get_coarse_ns)(void) = (void *)160; /* Linux 5.11; bcc 0.18 has no name for it */

#define PORT_PFCP 8805 /* TS 29.244, 6.4 */
#define PORT_GTPC 2123 /* TS 29.274, 4.2 */

enum want { WANT_NOTHING, WANT_PAYLOAD, WANT_DNS };

/* Does the payload begin as a client's first words do: a TLS or DTLS ClientHello, or a QUIC Initial of any version? */
static __always_inline u32 begins_hello(void *data, void *end, struct scratch *s)
{
	u8 *h;

	if (s->inner.proto == PROTO_TCP)
		return is_hello(data, end, s);
	h = bytes_at(data, end, s->payload_off, 14);
	if (!h)
		return 0;
	if (h[0] == TLS_HANDSHAKE)
		return h[1] == 0xfe && h[13] == TLS_CLIENT_HELLO; /* each fragment says so (RFC 6347, 4.2.2) */
	return s->payload_length >= QUIC_INITIAL && is_initial(h);
}

static __always_inline void take_one(struct flow *f, u32 d)
{
	if (left(f, d))
		f->left -= 1 << LEFT_SHIFT(d);
}

/* Take one payload from what direction d may hand over. What comes first is few packets, the answers and copies of the
 * other side take nothing of it, and a hello that comes later (behind STARTTLS, SOCKS, or a connection that was not
 * seen from its beginning) has a budget of its own. Behind the Initials of QUIC nothing can be read. */
static __always_inline u32 spend(void *data, void *end, struct scratch *s, struct flow *f, u32 d)
{
	u32 n = left(f, d), hellos = f->owner >> HELLOS_SHIFT(d) & 3;

	if (!n && hellos == SNF_HELLOS)
		return 0;
	if (begins_hello(data, end, s)) {
		if (n <= SNF_HANDOFF && hellos < SNF_HELLOS) {
			f->owner += 1 << HELLOS_SHIFT(d);
			f->left += (SNF_HELLO - n) << LEFT_SHIFT(d);
			n = SNF_HELLO;
		}
	} else if (hellos && s->inner.proto == PROTO_UDP) {
		return 0;
	}
	take_one(f, d);
	return n;
}

/* Who wants this packet's payload? */
static __always_inline u32 wanted(void *data, void *end, struct scratch *s, struct control *c, struct flow *f, u32 d)
{
	if (f->flags & FLOW_FINAL || !s->payload_length)
		return WANT_NOTHING;
	if (s->inner.proto != PROTO_TCP && s->inner.proto != PROTO_UDP)
		return WANT_NOTHING;
	if (is_dns(s)) { /* each message may be about another name */
		take_one(f, d);
		if (!c->economy || s->inner.proto == PROTO_TCP)
			return WANT_PAYLOAD;
		return s->sport == bpf_htons(PORT_DNS) ? WANT_DNS : WANT_NOTHING; /* the answer repeats the question */
	}
	return spend(data, end, s, f, d) ? WANT_PAYLOAD : WANT_NOTHING;
}

static __always_inline void inspect(void *data, void *end, struct scratch *s, struct control *c, struct port_stats *st,
				    struct flow *f, u32 d, u32 keep)
{
	if ((u16)f->epoch != (u16)c->epoch)
		new_epoch(s, c, f);
	if (keep & KEEP_FINE && s->inner.proto != PROTO_TCP)
		fine_clock(s, c);
	count_gap(f, d, s->now_us);
	if (s->payload_length)
		f->payload_packets[d]++;
	if (keep & KEEP_DETAIL)
		count_detail(s, c, f, st, keep);
	if (!s->whole_l4)
		return;
	if (s->inner.proto == PROTO_TCP)
		tcp_segment(s, c, f, d);
	else if (s->inner.proto == PROTO_UDP && is_dns(s))
		dns_message(data, end, s, c, f);
	else if (s->inner.proto == PROTO_UDP && !quic_packet(data, end, s, c, f, d))
		rtp_packet(data, end, s, f, d);
}

static __always_inline void count_fragment(struct scratch *s, struct flow *f, u32 d)
{
	struct early none = {}, *e;
	u64 number = f->number;

	f->frags++;
	if (!s->inner.more)
		return;
	e = earlies.lookup_or_try_init(&number, &none);
	if (!e)
		return;
	e->packets[d & 1]++;
	e->bytes[d & 1] += s->inner.total;
}

/* Count the packet for its flow. Returns one of enum want. */
static __always_inline u32 count(void *data, void *end, struct scratch *s, struct control *c, struct port_stats *st,
				 struct flow *f)
{
	u32 d = s->dir & 1, owner = f->owner >> 2 * d & 3;
	struct policy *policy;
	u32 app;

	if (owner && owner != s->role) {
		st->n[SNF_C_copy]++;
		return 0;
	}
	if (!owner)
		f->owner |= s->role << 2 * d;
	st->n[SNF_C_counted]++;
	st->n[SNF_C_counted_octets] += s->inner.total;
	if (!(f->flags & FLOW_FINAL) && f->left != LEFT_AT_FIRST && f->asked != (u8)c->answers)
		adopt_verdict(s, c, f);
	app = (f->group & (SNF_GROUPS - 1)) * SNF_APPS + (f->app & (SNF_APPS - 1));
	policy = policies.lookup(&app);
	if (!policy)
		return 0;
	s->snap_length = policy->snap_length;
	if (policy->action == SNF_INSPECT || policy->action == SNF_TRUNCATE)
		inspect(data, end, s, c, st, f, d, policy->keep);
	if (s->inner.fragment)
		count_fragment(s, f, d);
	f->bytes[d] += s->inner.total;
	f->packets[d]++;
	if (f->last_us[d] - s->now_us > TICK_MAX_US) /* a tick may be earlier than an exact time before it */
		f->last_us[d] = s->now_us;
	return wanted(data, end, s, c, f, d);
}

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

/* Copy the start of the payload into a record. Entered by tail call with the packet parsed in scratch. */
static __always_inline void hand_off(void *data, void *end, struct scratch *s, struct port_stats *st)
{
	u32 off = s->payload_off, length = s->payload_length;
	struct payload *r;
	void *ring;
	u64 i;
	u8 *from;

	if (off > MAX_OFFSET)
		return;
	from = data + (off & MAX_OFFSET);
	if ((void *)from > end)
		return;
	ring = ring_of(SNF_RING_PAYLOADS);
	r = ring ? bpf_ringbuf_reserve(ring, sizeof(*r), 0) : NULL;
	if (!r) {
		st->n[SNF_C_payload_ring_full]++;
		return;
	}
	__builtin_memset(r, 0, 128);
	r->number = s->fresh.number;
	r->at_ns = s->now_ns;
	r->key = s->key;
	__builtin_memcpy(r->address_a, s->dir ? s->inner.dst : s->inner.src, 16);
	__builtin_memcpy(r->address_b, s->dir ? s->inner.src : s->inner.dst, 16);
	r->session = s->fresh.session;
	r->seq = s->inner.proto == PROTO_TCP ? s->seq + !!(s->tcp_flags & TCP_SYN) : 0; /* RFC 9293, 3.4 */
	r->dir = s->dir;
	r->ue_end = s->fresh.ue_end;
	r->wire_length = length > 0xffff ? 0xffff : length;
	if (length > SNF_PAYLOAD)
		length = SNF_PAYLOAD;
	KEEP(s->taken) = length;
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_PAYLOAD; i += 8) {
		if ((void *)from + 8 > end || i + 8 > length)
			break;
		*(u64 *)(r->data + i) = *(u64 *)from;
		from += 8;
	}
	KEEP(r->length) = i;
#pragma clang loop unroll(disable)
	for (i = 0; i < TURNS(7); i++) {
		u32 at = KEEP(r->length);

		from = bytes_at(data, end, off + at, 1);
		if (!from || at >= KEEP(s->taken))
			break;
		asm volatile("" : "+r"(at));
		if (at >= SNF_PAYLOAD)
			break;
		r->data[at] = *from;
		KEEP(r->length) = at + 1;
	}
	st->n[SNF_C_handed_off]++;
	st->n[SNF_C_handed_off_octets] += r->length;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

int snf_handoff(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 slot = ctx->ingress_ifindex & (SNF_PORTS - 1), zero = 0;
	struct port *p = ports.lookup(&slot);
	struct scratch *s = scratch.lookup(&zero);
	struct port_stats *st;

	if (!p || !s)
		return XDP_PASS;
	slot = p->slot;
	st = stats.lookup(&slot);
	if (!st)
		return XDP_PASS;
	hand_off(data, end, s, st);
	return decide(ctx, p, st, s, s->verdict);
}

int snf_monitor(struct xdp_md *ctx)
{
	u32 slot = ctx->ingress_ifindex & (SNF_PORTS - 1), zero = 0;
	struct port *p = ports.lookup(&slot);
	struct scratch *s = scratch.lookup(&zero);
	struct port_stats *st;

	if (!p || !s)
		return XDP_DROP;
	slot = p->slot;
	st = stats.lookup(&slot);
	if (!st)
		return XDP_DROP;
	return monitor(ctx, p, st, s);
}
