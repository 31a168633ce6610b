/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* How a resolver answers: the time from a query to its response by identifier (RFC 1035, 4.1.1; RFC 5452, 9.1), errors,
 * and queries that were sent again. Two queries can be open in a flow, for clients ask for A and AAAA at once. */
#ifndef SNF_DNS_TIMING_H
#define SNF_DNS_TIMING_H

#include "clock.h"
#include "parse.h"

#define DNS_HEADER   12
#define DNS_QR	     0x8000 /* of the flags: a response */
#define DNS_OPCODE   0x7800
#define DNS_RCODE    0x000f
#define DNS_NXDOMAIN 3
#define DNS_MAX_US   10000000 /* an answer later than this is to something else, and a query as old is forgotten */

static __always_inline void dns_asked(struct dns_state *q, u16 id, u32 now)
{
	u32 slot;

	if (q->asked_us[0] && q->id[0] == id) {
		q->again++;
		q->twice |= 1;
		return;
	}
	if (q->asked_us[1] && q->id[1] == id) {
		q->again++;
		q->twice |= 2;
		return;
	}
	q->queries++;
	slot = q->asked_us[0] && (!q->asked_us[1] || (s32)(q->asked_us[1] - q->asked_us[0]) < 0);
	if (slot) {
		q->id[1] = id;
		q->asked_us[1] = nonzero(now);
		q->twice &= ~2;
	} else {
		q->id[0] = id;
		q->asked_us[0] = nonzero(now);
		q->twice &= ~1;
	}
}

static __always_inline void dns_answered(struct dns_state *q, u32 since, u32 again, u8 rcode)
{
	if (since > DNS_MAX_US)
		return;
	q->answers++;
	if (rcode && rcode != DNS_NXDOMAIN)
		q->failed++;
	if (again) /* its answer is ambiguous (RFC 6298, 3) */
		return;
	q->timed++;
	q->sum_us += since;
}

static __always_inline void dns_message(void *data, void *end, struct scratch *s, struct control *c, struct flow *f)
{
	struct dns_state *q = &f->dns;
	u32 off = s->payload_off, now, flags;
	u16 id;
	u8 *h;

	if (s->payload_length < DNS_HEADER || off > MAX_OFFSET)
		return;
	h = data + (off & MAX_OFFSET);
	if ((void *)h + 4 > end)
		return;
	id = load16(h);
	flags = load16(h + 2);
	if (flags & DNS_OPCODE)
		return;
	now = fine_clock(s, c);
	if (!(flags & DNS_QR)) {
		if (s->dport == bpf_htons(PORT_DNS))
			dns_asked(q, id, now);
		return;
	}
	if (s->sport != bpf_htons(PORT_DNS))
		return;
	if (q->asked_us[0] && q->id[0] == id) {
		dns_answered(q, now - q->asked_us[0], q->twice & 1, flags & DNS_RCODE);
		q->asked_us[0] = 0;
	} else if (q->asked_us[1] && q->id[1] == id) {
		dns_answered(q, now - q->asked_us[1], q->twice & 2, flags & DNS_RCODE);
		q->asked_us[1] = 0;
	}
}

#endif
