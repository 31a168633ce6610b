/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Requests and their answers. An uplink payload of more than 300 bytes is a request, and what comes down until the next
 * one is its answer (Gutterman et al., Requet, MMSys 2019). Later requests of HTTP/2 and HTTP/3 are shorter, so shorter
 * payloads that are no mere control frame are taken for requests as well: `request_length` tells, and a reader that
 * knows better joins what they cut.
 *
 * A request that is sent again, or behind another one before anything came down, is of the same chunk. How long
 * somebody waits is counted from the first request on, until an answer comes that is more than an acknowledgement.
 */
#ifndef SNF_CHUNKS_H
#define SNF_CHUNKS_H

#include "detail_table.h"
#include "parse.h"

/* Bytes of what TCP and QUIC need for themselves, at most. WINDOW_UPDATE, PING and SETTINGS have 30 to 50 in TLS (RFC
 * 9113, 6), as acknowledgements of QUIC have with their ranges (RFC 9000, 19.3); those of QUIC before it was a standard
 * are longer. Later requests of a connection begin at 69 bytes in HTTP/2 and at 88 in HTTP/3 (Chromium 156). */
#define CONTROL		60
#define CONTROL_OLDER	100
#define CHUNK_LEAST	8000   /* a smaller answer is a control message; audio segments are larger: it is told only */
#define CHUNK_LIVED_US	20000  /* where requests matter, when the next one is no part of the same burst, and */
#define CHUNK_WAITED_US 500000 /* else when somebody waited for it */
#define PORT_HTTPS	443

static __always_inline u32 is_over_quic(struct scratch *s, struct flow *f)
{
	return f->flags & FLOW_QUIC || s->sport == bpf_htons(PORT_HTTPS) || s->dport == bpf_htons(PORT_HTTPS);
}

static __always_inline u32 control_most(struct scratch *s, struct flow *f)
{
	return s->inner.proto == PROTO_TCP || f->flags & FLOW_QUIC ? CONTROL : CONTROL_OLDER;
}

/* Are the packets timed exactly, as those of calls and games are, and the flow known for one? They have no requests. */
static __always_inline u32 asks_nothing(u32 keep)
{
	return (keep & (KEEP_FINE | KEEP_GROWN)) == KEEP_FINE;
}

static __always_inline u32 is_request(struct scratch *s, struct flow *f, u32 keep)
{
	u32 length = s->payload_length;

	if (length > REQUEST_LEAST)
		return 1;
	if (asks_nothing(keep))
		return 0;
	return length > control_most(s, f) && (s->inner.proto == PROTO_TCP || is_over_quic(s, f));
}

static __always_inline u32 is_worth_telling(struct chunk_state *k, u32 keep, u32 now_us)
{
	if (k->bytes >= CHUNK_LEAST)
		return 1;
	if (asks_nothing(keep))
		return k->first_us - (k->unanswered_us ? k->unanswered_us : k->request_us) >= CHUNK_WAITED_US;
	return k->length <= REQUEST_LEAST ||
	       now_us - k->request_us >= CHUNK_LIVED_US; /* so that a reader can join it */
}

static __always_inline void close_chunk(struct chunk_state *k, struct flow *f, struct port_stats *st, u32 keep,
					u32 now_us)
{
	struct chunk *r;
	void *ring;

	if (!is_worth_telling(k, keep, now_us))
		return;
	k->closed++;
	ring = ring_of(SNF_RING_CHUNKS);
	r = ring ? bpf_ringbuf_reserve(ring, sizeof(*r), 0) : NULL;
	if (!r) {
		st->n[SNF_C_chunk_ring_full]++;
		return;
	}
	r->number = f->number;
	r->request_us = k->request_us;
	r->unanswered_us = k->unanswered_us;
	r->first_us = k->first_us;
	r->last_us = k->last_us;
	r->bytes = k->bytes;
	r->packets = k->packets;
	r->idle_us = now_us - k->last_us;
	r->gap_max_us = k->gap_max_us;
	r->requests = k->requests;
	r->request_length = k->length;
	r->pad = 0;
	st->n[SNF_C_chunks]++;
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
}

static __always_inline void count_answer(struct scratch *s, struct chunk_state *k, struct flow *f)
{
	u32 now_us = nonzero(s->now_us), gap;

	if (!k->request_us)
		return;
	if (k->first_us) {
		gap = now_us - k->last_us;
		if (gap > k->gap_max_us)
			k->gap_max_us = gap;
	} else {
		k->first_us = now_us;
	}
	k->last_us = now_us;
	k->bytes += s->payload_length;
	k->packets++;
	if (!k->waiting_us || s->payload_length <= control_most(s, f))
		return;
	if (k->waiting_us == k->request_us)
		k->unanswered_us = 0;
	k->waiting_us = 0;
}

static __always_inline void count_request(struct scratch *s, struct chunk_state *k, struct flow *f,
					  struct port_stats *st, u32 keep)
{
	u32 now_us = nonzero(s->now_us), length = s->payload_length;

	if (k->first_us) {
		close_chunk(k, f, st, keep, now_us);
		k->request_us = k->first_us = k->last_us = k->bytes = k->packets = k->gap_max_us = 0;
		k->requests = k->length = 0;
	}
	if (length > REQUEST_LEAST || k->length <= REQUEST_LEAST)
		k->request_us = now_us;
	if (k->requests < 0xffff)
		k->requests++;
	if (length > k->length)
		k->length = length > 0xffff ? 0xffff : length;
	if (!k->waiting_us)
		k->waiting_us = now_us;
	k->unanswered_us = k->waiting_us;
}

#endif
