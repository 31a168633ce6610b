/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Payloads for user space, which reads more of them than the programs: of which packets, and their records. */
#ifndef SNF_HANDOFF_H
#define SNF_HANDOFF_H

#include "action.h"
#include "flow.h"
#include "frame.h"
#include "quic.h"
#include "tls.h"

enum want { WANT_NOTHING, WANT_PAYLOAD, WANT_DNS, WANT_MEDIA = 4 /* and before that its detail */ };

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
	r->place = s->place;
	if (length > SNF_PAYLOAD)
		length = SNF_PAYLOAD;
	IN_MEMORY(s->taken) = length;
#pragma clang loop unroll(disable)
	for (i = 0; i < SNF_PAYLOAD; i += 8) {
		if ((void *)from + 8 > end || i + 8 > length)
			break;
		*(u64 *)(r->data + i) = *(u64 *)from;
		from += 8;
	}
	IN_MEMORY(r->length) = i;
#pragma clang loop unroll(disable)
	for (i = 0; i < TURNS(7); i++) {
		u32 at = IN_MEMORY(r->length);

		from = bytes_at(data, end, off + at, 1);
		if (!from || at >= IN_MEMORY(s->taken))
			break;
		asm volatile("" : "+r"(at));
		if (at >= SNF_PAYLOAD)
			break;
		r->data[at] = *from;
		IN_MEMORY(r->length) = at + 1;
	}
	st->n[SNF_C_handed_off]++;
	st->n[SNF_C_handed_off_octets] += r->length;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

/* Let the program go on that reads such a payload. Returns when it is not loaded. */
static __always_inline void read_payload(hook *ctx, void *data, void *end, struct frame *in, struct flow *f, u32 want)
{
	struct scratch *s = in->s;

	s->fresh.number = f->number;
	s->fresh.session = f->session;
	s->fresh.ue_end = f->ue_end;
	if (want != WANT_DNS && is_hello(data, end, s))
		next_program.call(ctx, NEXT_TLS);
	full_addresses(&s->inner);
	fine_clock(s, in->c);
	if (want == WANT_DNS)
		next_program.call(ctx, NEXT_DNS);
	else
		next_program.call(ctx, NEXT_HANDOFF);
}

int snf_handoff(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;

	if (!enter(ctx, &in, ASKS_PORT))
		return HOOK_PASS;
	hand_off(data, end, in.s, in.st);
	return decide(ctx, &in, in.s->signalling);
}

#endif
