/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * DNS responses (RFC 1035, 4): what each subscriber was told of addresses, so that a flow to one of them has its
 * application with its first packet. An address that goes by names of two applications names neither.
 */
#ifndef SNF_DNS_H
#define SNF_DNS_H

#include "answers.h"
#include "names.h"

#define DNS_A		1
#define DNS_CNAME	5
#define DNS_AAAA	28
#define DNS_IN		1
#define DNS_POINTER	0xc000	  /* and an offset into the message (RFC 1035, 4.1.4) */
#define DNS_QUESTION	0xc00c	  /* to the question's name */
#define DNS_LABEL	63	  /* bytes of a label at most; larger numbers are pointers */
#define DNS_MAX_LABELS	TURNS(32) /* of a name of SNF_NAME bytes */
#define DNS_MAX_RECORDS TURNS(16) /* of a response, CNAMEs with them; the rest is not learned */
#define ANSWER_LEAST_S	3600	  /* as nf/naming/dns_answers.py: clients use answers that have expired */
#define ANSWER_MOST_S	86400

/* s->off at the question's name: leave it behind the name and what the name's labels take in s->name_length. */
static __always_inline u32 walk_question(void *data, void *end, struct scratch *s)
{
	u32 begin = s->off, off;
	u64 i;
	u8 *h;

#pragma clang loop unroll(disable)
	for (i = 0; i <= DNS_MAX_LABELS; i++) {
		off = IN_MEMORY(s->off);
		h = bytes_at(data, end, off, 1);
		if (!h || *h > DNS_LABEL)
			return 0;
		IN_MEMORY(s->off) = off + 1 + *h;
		if (!*h) {
			s->name_length = off - begin;
			return off > begin; /* the root has no name */
		}
	}
	return 0;
}

/* The labels in s->name, each behind its length but the first, of which that is given: as text, and where its dots are.
 */
static __always_inline void join_labels(struct scratch *s, u8 first)
{
	u64 i;

	IN_MEMORY(s->label) = first;
	s->dots = 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_MAX_LABELS; i++) {
		u64 at = IN_MEMORY(s->label);

		if (at >= IN_MEMORY(s->name_length))
			break;
		asm volatile("" : "+r"(at));
		at &= SNF_NAME - 1;
		IN_MEMORY(s->label) = at + 1 + s->name[at];
		s->name[at] = '.';
		s->dots |= 1ull << at;
	}
}

/* s->off at the question's name: leave it in s->name as text, and s->off behind it. */
static __always_inline u32 question(void *data, void *end, struct scratch *s)
{
	u32 begin = s->off, behind;
	u8 *h;

	if (!walk_question(data, end, s))
		return 0;
	s->name_length--; /* without the length of the first label */
	behind = s->off;
	IN_MEMORY(s->off) = begin + 1;
	if (!take_name(data, end, s))
		return 0;
	h = bytes_at(data, end, begin, 1);
	if (!h)
		return 0;
	join_labels(s, *h);
	s->off = behind;
	return 1;
}

/* Learn the address in s->told. */
static __always_inline void learn(struct scratch *s, struct port_stats *st, u32 ttl_s)
{
	struct answer *new = &s->tells, *old;
	u32 now_s = s->now_ns / NS_PER_S;

	new->name = s->name_hash;
	new->app = s->name_app;
	new->pad = 0;
	IN_MEMORY(new->until_s) = now_s + (ttl_s < ANSWER_LEAST_S  ? ANSWER_LEAST_S
					   : ttl_s > ANSWER_MOST_S ? ANSWER_MOST_S
								   : ttl_s);
	old = answers.lookup(&s->told);
	if (old && (s32)(old->until_s - now_s) > 0 && old->app != new->app)
		new->app = NAMING_ASK;
	answers.update(&s->told, new);
	st->n[SNF_C_dns_learned]++;
}

static __always_inline u32 is_address(u32 kind, u32 length)
{
	return (kind == DNS_A && length == 4) || (kind == DNS_AAAA && length == 16);
}

/* Take the address of a record: s->off at its data, of 4 or 16 bytes. Returns 0 when it is not there. */
static __always_inline u32 take_address(void *data, void *end, struct scratch *s, u32 length)
{
	u32 *w = (u32 *)s->told.address;
	u8 *a = bytes_at(data, end, IN_MEMORY(s->off), 4);

	if (!a)
		return 0;
	if (length == 4) {
		w[0] = w[1] = 0;
		w[2] = bpf_htonl(0xffff);
		w[3] = *(u32 *)a;
		return 1;
	}
	a = bytes_at(data, end, IN_MEMORY(s->off), 16);
	if (!a)
		return 0;
	__builtin_memcpy(w, a, 16);
	return 1;
}

/* What the records behind an alias have to be of: its target, s->off at it. Returns 0 when it is not there. */
static __always_inline u32 follow(void *data, void *end, struct scratch *s)
{
	u32 off = IN_MEMORY(s->off);
	u8 *h = bytes_at(data, end, off, 2);

	if (!h)
		return 0;
	IN_MEMORY(s->name_at) = *h > DNS_LABEL ? load16(h) : DNS_POINTER | (off - s->payload_off);
	return 1;
}

/* The answers behind the question: s->off at the first one. Returns 0 when one is of a shape that is not read here.
 * Records have no order (RFC 1034, 3.6), but servers send a chain of aliases from its beginning on, and then its
 * addresses; user space reads what comes otherwise. */
static __always_inline u32 learn_answers(void *data, void *end, struct scratch *s, struct port_stats *st)
{
	u32 off, kind, length, ttl_s, last = s->payload_off + s->payload_length;
	u64 i;
	u8 *h;

	if (s->off > last)
		return 0;
	IN_MEMORY(s->name_at) = DNS_QUESTION;
	s->told.who = asker(s->fresh.session, s->inner.dst);
#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_MAX_RECORDS; i++) {
		if (i >= IN_MEMORY(s->records))
			break;
		off = IN_MEMORY(s->off);
		h = bytes_at(data, end, off, 12);
		if (!h || load16(h) != IN_MEMORY(s->name_at)) /* servers compress the owner */
			return 0;
		kind = load16(h + 4) == DNS_IN ? load16(h + 2) : 0;
		ttl_s = load32(h + 6);
		length = load16(h + 10);
		off += 12;
		if (off + length > last)
			return 0;
		IN_MEMORY(s->off) = off;
		if (is_address(kind, length)) {
			if (!take_address(data, end, s, length))
				return 0;
			learn(s, st, ttl_s);
		} else if (kind == DNS_CNAME && !follow(data, end, s)) {
			return 0;
		}
		IN_MEMORY(s->off) = off + length;
	}
	return 1;
}

/* Returns 1 with the name that a response is about in s->name, and s->off at its answers. */
static __always_inline u32 dns_response(void *data, void *end, struct scratch *s)
{
	u32 off = s->payload_off;
	u8 *h = bytes_at(data, end, off, 12);

	/* a standard query's response without error or truncation, with one question */
	if (!h || (h[2] & 0xfa) != 0x80 || h[3] & 0x0f || load16(h + 4) != 1)
		return 0;
	s->records = load16(h + 6);
	s->off = off + 12;
	if (!question(data, end, s))
		return 0;
	s->off += 4; /* type and class of the question */
	return 1;
}

#endif
