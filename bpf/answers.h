/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What a subscriber was told by DNS of the address that a new flow goes to. bpf/dns.h learns it. */
#ifndef SNF_ANSWERS_H
#define SNF_ANSWERS_H

#include "clock.h"
#include "hash.h"
#include "parse.h"

#define NAMING_ASK 0xffff /* instead of an application: user space knows more about it */

/* Who was told a DNS answer: the session, or while it is unknown the UE's address. */
static __always_inline u32 asker(u32 session, const u8 *ue)
{
	return session ? session : fold(ue) | 0x80000000;
}

/* What the flow's server was told to be; NULL when it was not, or to be two things. Without a word of the tunnel
 * about its direction, who speaks first is the client. */
static __always_inline struct answer *told_of(struct scratch *s, u32 session, u8 side)
{
	const u8 *ue = side == SNF_DOWNLINK ? s->inner.dst : s->inner.src;
	const u8 *server = side == SNF_DOWNLINK ? s->inner.src : s->inner.dst;
	struct answer_key k;
	struct answer *a;

	k.who = asker(session, ue);
	__builtin_memcpy(k.address, server, 16);
	a = answers.lookup(&k);
	if (!a && session) { /* told before the session was known */
		k.who = asker(0, ue);
		a = answers.lookup(&k);
	}
	if (!a || a->app == NAMING_ASK || (s32)(a->until_s - (u32)(s->now_ns / NS_PER_S)) <= 0)
		return NULL;
	return a;
}

/* A flow to an address that DNS gave. A ClientHello still says it better; over QUIC only user space could read that. */
static __always_inline void name_by_answer(struct scratch *s, struct port_stats *st, struct flow *f, u32 session,
					   u8 side)
{
	struct answer *a;

	if ((s->inner.proto != PROTO_TCP && s->inner.proto != PROTO_UDP) || s->sport == bpf_htons(PORT_DNS) ||
	    s->dport == bpf_htons(PORT_DNS))
		return;
	a = told_of(s, session, side);
	if (!a)
		return;
	f->app = a->app;
	s->name_hash = a->name;
	if (s->inner.proto == PROTO_UDP && (s->sport == bpf_htons(PORT_QUIC) || s->dport == bpf_htons(PORT_QUIC)))
		f->flags |= FLOW_FINAL;
	st->n[SNF_C_answer_used]++;
}

#endif
