/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * DNS responses (RFC 1035, 4): what each subscriber was told of addresses, so that a flow to one of them has its
 * application with its first packet. An address that goes by names of two applications names neither.
 */
#ifndef SNF_DNS_H
#define SNF_DNS_H

#include "names.h"

#define DNS_A		1
#define DNS_CNAME	5
#define DNS_AAAA	28
#define DNS_IN		1
#define DNS_POINTER	0xc000 /* and an offset into the message (RFC 1035, 4.1.4) */
#define DNS_QUESTION	0xc00c /* to the question's name */
#define DNS_MAX_RECORDS 16     /* of a response, CNAMEs with them; the rest is not learned */
#define ANSWER_LEAST_S	3600   /* as nf/apps/answers.py: clients use answers that have expired */
#define ANSWER_MOST_S	86400

/* s->off at the question's name: copy it to s->name as text and leave s->off behind it. */
static __always_inline u32 question(void *data, void *end, struct scratch *s)
{
	u32 off = s->off, left = 0;
	u64 i;
	u8 *h, c;

#pragma clang loop unroll(disable)
	for (i = 0; i <= SNF_NAME + 1; i++) {
		h = bytes_at(data, end, off + (u32)i, 1);
		if (!h)
			return 0;
		c = *h;
		if (left) {
			c = letter(c);
			if (c == NO_LETTER || c == '.')
				return 0;
			left--;
		} else {
			if (!c) {
				if (i < 2)
					return 0; /* the root */
				s->name_length = i - 1;
				s->off = off + (u32)i + 1;
				return 1;
			}
			if (c > 63)
				return 0;
			left = c;
			c = '.';
		}
		if (i)
			set_letter(s, (u32)i - 1, c);
	}
	return 0;
}

static __always_inline void learn(struct scratch *s, struct port_stats *st, const u8 *address, u32 v4, u32 ttl_s)
{
	struct answer new = {}, *old;
	struct answer_key k;
	u32 now_s = s->now_ns / 1000000000;

	k.who = asker(s->fresh.session, s->inner.dst);
	if (v4) {
		u32 *w = (u32 *)k.address;

		w[0] = w[1] = 0;
		w[2] = bpf_htonl(0xffff);
		w[3] = *(const u32 *)address;
	} else {
		__builtin_memcpy(k.address, address, 16);
	}
	new.name = s->name_hash;
	new.app = s->name_app;
	new.until_s = now_s + (ttl_s < ANSWER_LEAST_S ? ANSWER_LEAST_S : ttl_s > ANSWER_MOST_S ? ANSWER_MOST_S : ttl_s);
	old = answers.lookup(&k);
	if (old && (s32)(old->until_s - now_s) > 0 && old->app != new.app)
		new.app = NAMING_ASK;
	answers.update(&k, &new);
	st->n[SNF_C_dns_learned]++;
}

/* The answers behind the question: s->off at the first one. Returns 0 when one is of a shape that is not read here.
 * Records have no order (RFC 1034, 3.6), but servers send a chain of aliases from its beginning on, and then its
 * addresses; user space reads what comes otherwise. */
static __always_inline u32 learn_answers(void *data, void *end, struct scratch *s, struct port_stats *st, u32 count)
{
	u32 off, kind, length, last = s->payload_off + s->payload_length;
	u64 i;
	u8 *h;

	if (s->off > last)
		return 0;
	KEEP(s->name_at) = DNS_QUESTION;
#pragma clang loop unroll(disable)
	for (i = 0; i < DNS_MAX_RECORDS; i++) {
		if (i >= count)
			break;
		off = KEEP(s->off);
		h = bytes_at(data, end, off, 12);
		if (!h || load16(h) != KEEP(s->name_at)) /* servers compress the owner */
			return 0;
		kind = load16(h + 4) == DNS_IN ? load16(h + 2) : 0;
		length = load16(h + 10);
		if (off + 12 + length > last)
			return 0;
		if (kind == DNS_A && length == 4) {
			u8 *a = bytes_at(data, end, off + 12, 4);

			if (!a)
				return 0;
			h = bytes_at(data, end, off, 12);
			if (!h)
				return 0;
			learn(s, st, a, 1, load32(h + 6));
		} else if (kind == DNS_AAAA && length == 16) {
			u8 *a = bytes_at(data, end, off + 12, 16);

			if (!a)
				return 0;
			h = bytes_at(data, end, off, 12);
			if (!h)
				return 0;
			learn(s, st, a, 0, load32(h + 6));
		} else if (kind == DNS_CNAME) {
			u8 *target = bytes_at(data, end, off + 12, 2);

			if (!target)
				return 0;
			KEEP(s->name_at) = target[0] >= DNS_POINTER >> 8 ? load16(target)
									 : DNS_POINTER | (off + 12 - s->payload_off);
		}
		KEEP(s->off) = off + 12 + length;
	}
	return 1;
}

/* Learn from a response; returns 1 when all of it was read here. */
static __always_inline u32 dns_response(void *data, void *end, struct scratch *s, struct port_stats *st)
{
	u32 off = s->payload_off, count;
	u8 *h = bytes_at(data, end, off, 12);

	/* a standard query's response without error or truncation, with one question */
	if (!h || (h[2] & 0xfa) != 0x80 || h[3] & 0x0f || load16(h + 4) != 1)
		return 0;
	count = load16(h + 6);
	s->off = off + 12;
	if (!question(data, end, s))
		return 0;
	if (!app_of_name(s) || s->name_app == NAMING_ASK)
		return 0;
	s->off += 4; /* type and class of the question */
	return learn_answers(data, end, s, st, count);
}

#endif
