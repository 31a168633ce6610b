/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The programs that name flows, entered by tail call with the packet parsed in scratch:
 *
 *     snf_tls -----> snf_name -> snf_suffix -> the flow has its application
 *     snf_dns --'                     '------> snf_answers -> so have the next ones to these addresses
 *
 * Each can give up; then user space gets the payload. They are apart because the verifier's work is the product of what
 * one program does, and the sum of what several do.
 */
#ifndef SNF_NAMING_H
#define SNF_NAMING_H

#include "action.h"
#include "dns.h"
#include "flow.h"
#include "tls.h"

/* What such a program works on. */
struct work {
	struct port *p;
	struct port_stats *st;
	struct scratch *s;
	struct control *c;
};

/* Returns 0 when there is nothing to work on. */
static __always_inline u32 resume(struct xdp_md *ctx, struct work *w)
{
	u32 slot = ctx->ingress_ifindex & (SNF_PORTS - 1), zero = 0;

	w->p = ports.lookup(&slot);
	w->c = control.lookup(&zero);
	w->s = scratch.lookup(&zero);
	if (!w->p || !w->c || !w->s)
		return 0;
	slot = w->p->slot;
	w->st = stats.lookup(&slot);
	return !!w->st;
}

/* The packet's flow, when it is still the one that it was in the first program. */
static __always_inline struct flow *same_flow(struct scratch *s)
{
	struct flow *f = flows.lookup(&s->key);

	return f && f->number == s->fresh.number ? f : NULL;
}

/* User space shall name the flow. */
static __always_inline int give_up(struct xdp_md *ctx, struct work *w)
{
	w->st->n[w->s->name_basis == SNF_BY_SNI ? SNF_C_sni_handed_off : SNF_C_dns_handed_off]++;
	full_addresses(&w->s->inner);
	fine_clock(w->s, w->c);
	next_program.call(ctx, NEXT_HANDOFF);
	return decide(ctx, w->p, w->st, w->s, w->s->verdict);
}

/* A payload that begins as a ClientHello. */
int snf_tls(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct work w;

	if (!resume(ctx, &w))
		return XDP_PASS;
	w.s->name_basis = SNF_BY_SNI;
	if (server_name(data, end, w.s))
		next_program.call(ctx, NEXT_NAME);
	return give_up(ctx, &w);
}

/* A DNS message to a client. */
int snf_dns(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct work w;

	if (!resume(ctx, &w))
		return XDP_PASS;
	w.s->name_basis = SNF_BY_DNS;
	if (dns_response(data, end, w.s))
		next_program.call(ctx, NEXT_NAME);
	return give_up(ctx, &w);
}

/* A name in s->name. */
int snf_name(struct xdp_md *ctx)
{
	struct work w;

	if (!resume(ctx, &w))
		return XDP_PASS;
	if (hash_suffixes(w.s))
		next_program.call(ctx, NEXT_SUFFIX);
	return give_up(ctx, &w);
}

/* The hashes of a name's suffixes in s->suffix. */
int snf_suffix(struct xdp_md *ctx)
{
	struct work w;
	struct flow *f;

	if (!resume(ctx, &w))
		return XDP_PASS;
	if (!match(w.s, w.c)) {
		next_program.call(ctx, NEXT_SUFFIX);
		return give_up(ctx, &w);
	}
	if (w.s->name_app == NAMING_ASK)
		return give_up(ctx, &w);
	if (w.s->name_basis == SNF_BY_DNS)
		next_program.call(ctx, NEXT_ANSWERS);
	if (w.s->name_basis == SNF_BY_DNS || !tell_name(w.s, w.st))
		return give_up(ctx, &w);
	w.st->n[SNF_C_sni_named]++;
	if (!w.s->name_app)
		w.st->n[SNF_C_sni_unlisted]++;
	f = same_flow(w.s);
	if (f) {
		f->app = w.s->name_app;
		if (w.s->name_app && !w.s->name_network)
			f->flags |= FLOW_FINAL;
		else
			hand_no_more(f);
	}
	return decide(ctx, w.p, w.st, w.s, w.s->verdict);
}

/* A DNS response of which the name is known, s->off at its answers. */
int snf_answers(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct work w;
	struct flow *f;

	if (!resume(ctx, &w))
		return XDP_PASS;
	if (!learn_answers(data, end, w.s, w.st) || !tell_name(w.s, w.st))
		return give_up(ctx, &w);
	w.st->n[SNF_C_dns_read]++;
	f = same_flow(w.s);
	if (f && w.s->name_app)
		f->app = w.s->name_app;
	return decide(ctx, w.p, w.st, w.s, w.s->verdict);
}

#endif
