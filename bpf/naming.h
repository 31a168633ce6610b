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
#include "frame.h"
#include "tls.h"

/* The packet's flow, when it is still the one that it was in the first program. */
static __always_inline struct flow *same_flow(struct scratch *s)
{
	struct flow *f = flow_there(s);

	return f && f->number == s->fresh.number ? f : NULL;
}

/* User space shall name the flow. */
static __always_inline int give_up(hook *ctx, struct frame *in)
{
	in->st->n[in->s->name_basis == SNF_BY_SNI ? SNF_C_sni_handed_off : SNF_C_dns_handed_off]++;
	full_addresses(&in->s->inner);
	fine_clock(in->s, in->c);
	next_program.call(ctx, NEXT_HANDOFF);
	return decide(ctx, in, in->s->signalling);
}

/* A payload that begins as a ClientHello. */
int snf_tls(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	in.s->name_basis = SNF_BY_SNI;
	if (server_name(data, end, in.s))
		next_program.call(ctx, NEXT_NAME);
	return give_up(ctx, &in);
}

/* A DNS message to a client. */
int snf_dns(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	in.s->name_basis = SNF_BY_DNS;
	if (dns_response(data, end, in.s))
		next_program.call(ctx, NEXT_NAME);
	return give_up(ctx, &in);
}

/* A name in s->name. */
int snf_name(hook *ctx)
{
	struct frame in;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	if (hash_suffixes(in.s))
		next_program.call(ctx, NEXT_SUFFIX);
	return give_up(ctx, &in);
}

/* The hashes of a name's suffixes in s->suffix. */
int snf_suffix(hook *ctx)
{
	struct frame in;
	struct flow *f;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	if (!match(in.s, in.c)) {
		next_program.call(ctx, NEXT_SUFFIX);
		return give_up(ctx, &in);
	}
	if (in.s->name_app == NAMING_ASK)
		return give_up(ctx, &in);
	if (in.s->name_basis == SNF_BY_DNS)
		next_program.call(ctx, NEXT_ANSWERS);
	if (in.s->name_basis == SNF_BY_DNS || !tell_name(in.s, in.st))
		return give_up(ctx, &in);
	in.st->n[SNF_C_sni_named]++;
	if (!in.s->name_app)
		in.st->n[SNF_C_sni_unlisted]++;
	f = same_flow(in.s);
	if (f) {
		f->app = in.s->name_app;
		if (in.s->name_app && !in.s->name_network)
			f->flags |= FLOW_FINAL;
		else
			hand_no_more(f);
	}
	return decide(ctx, &in, in.s->signalling);
}

/* A DNS response of which the name is known, s->off at its answers. */
int snf_answers(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;
	struct flow *f;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	if (!learn_answers(data, end, in.s, in.st) || !tell_name(in.s, in.st))
		return give_up(ctx, &in);
	in.st->n[SNF_C_dns_read]++;
	f = same_flow(in.s);
	if (f && in.s->name_app)
		f->app = in.s->name_app;
	return decide(ctx, &in, in.s->signalling);
}

#endif
