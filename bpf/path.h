/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* GTP-U paths (TS 29.281, 7.2 and 7.3): an echo and its answer time the way between two tunnel ends, without a
 * subscriber's packet; error indications say that one end knows a tunnel no more. */
#ifndef SNF_PATH_H
#define SNF_PATH_H

#include "clock.h"
#include "histogram.h"
#include "limit.h"
#include "parse.h"

static __always_inline struct path *path_of(struct path_key *k, u32 slot, struct control *c, u64 now)
{
	struct path empty = {}, *p = paths.lookup(k);

	if (p || over_limit(slot, c, now))
		return p;
	paths.insert(k, &empty);
	return paths.lookup(k);
}

/* s->gtpu_seq pairs a response with its request (TS 29.281, 7.2.2). */
static __always_inline void gtpu_path(struct scratch *s, struct control *c, u64 now, u32 message)
{
	struct path_key k;
	struct echo_key e;
	struct path *p;
	u32 us;
	u64 *sent;

	if (message != SNF_C_gtpu_echo_request && message != SNF_C_gtpu_echo_response &&
	    message != SNF_C_gtpu_error_indication)
		return;
	full_addresses(&s->outer);
	if (message == SNF_C_gtpu_echo_response) { /* a path is named by who asks */
		__builtin_memcpy(k.from, s->outer.dst, 16);
		__builtin_memcpy(k.to, s->outer.src, 16);
	} else {
		__builtin_memcpy(k.from, s->outer.src, 16);
		__builtin_memcpy(k.to, s->outer.dst, 16);
	}
	p = path_of(&k, s->slot, c, now);
	if (!p)
		return;
	p->last_ns = now;
	if (message == SNF_C_gtpu_error_indication) {
		p->error_indications++;
		return;
	}
	__builtin_memcpy(&e.path, &k, sizeof(k));
	e.seq = s->gtpu_seq;
	if (message == SNF_C_gtpu_echo_request) {
		p->requests++;
		echoes.update(&e, &now);
		return;
	}
	p->responses++;
	sent = echoes.lookup(&e);
	if (!sent || now - *sent > RTT_MAX_US * (u64)NS_PER_US)
		return;
	us = (now - *sent) / NS_PER_US;
	echoes.delete(&e);
	p->rtt_sum_us += us;
	p->rtt_last_us = us;
	p->rtt_last_ns = now;
	if (!p->rtt_n || us < p->rtt_min_us)
		p->rtt_min_us = us;
	p->rtt_n++;
	echo_delayed(&k, us);
}

#define IE_TEID 16 /* Tunnel Endpoint Identifier Data I (TS 29.281, 8.3): of the user data that was refused */

/* An error indication: s->off at its first information element. Count it for the tunnel that it is about. */
static __always_inline void tunnel_refused(void *data, void *end, struct scratch *s, u64 now)
{
	u8 *ie = data + (s->off & MAX_OFFSET);
	struct tunnel_error new = {}, *r;
	struct tunnel_key k;

	if ((void *)ie + 5 > end || ie[0] != IE_TEID)
		return;
	__builtin_memcpy(k.address, s->outer.src, 16); /* in full since gtpu_path() */
	k.teid = load32(ie + 1);
	r = tunnel_errors.lookup(&k);
	if (!r) {
		tunnel_errors.insert(&k, &new);
		r = tunnel_errors.lookup(&k);
		if (!r)
			return;
	}
	r->last_ns = now;
	r->count++;
}

#endif
