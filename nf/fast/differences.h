/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Two states of each flow to what it did between them: what `_columns` of nf/flows/deltas.py says, where the formulas
 * are explained, in one pass that leaves the later state in the place of the earlier one. Counters wrap as those of the
 * kernel.
 */
#ifndef SNF_FAST_DIFFERENCES_H
#define SNF_FAST_DIFFERENCES_H

#include "face.h"

/* Columns of nf.flows.batch.FlowBatch that follow from two states. */
#define DIFFERENCE_COLUMNS(X)                                                                                          \
	X(uint64_t, flow_id, 1)                                                                                        \
	X(uint32_t, session, 1)                                                                                        \
	X(uint8_t, proto, 1)                                                                                           \
	X(uint8_t, qfi, 2)                                                                                             \
	X(uint64_t, octets, 2)                                                                                         \
	X(uint64_t, packets, 2)                                                                                        \
	X(uint64_t, payload_packets, 2)                                                                                \
	X(uint32_t, retrans, 2)                                                                                        \
	X(uint32_t, spurious, 2)                                                                                       \
	X(uint32_t, filled, 2)                                                                                         \
	X(uint32_t, rtt_n, 2)                                                                                          \
	X(uint64_t, rtt_sum_us, 2)                                                                                     \
	X(uint32_t, rtt_min_us, 2)                                                                                     \
	X(uint32_t, rtt_high_us, 2)                                                                                    \
	X(uint32_t, gap_n, 2)                                                                                          \
	X(uint64_t, gap_sum_us, 2)                                                                                     \
	X(uint64_t, gap_sq_us2, 2)                                                                                     \
	X(uint32_t, gap_max_us, 2)                                                                                     \
	X(uint32_t, rtp_expected, 2)                                                                                   \
	X(uint32_t, rtp_received, 2)                                                                                   \
	X(uint32_t, dns_queries, 1)                                                                                    \
	X(uint32_t, dns_answers, 1)                                                                                    \
	X(uint32_t, dns_failed, 1)                                                                                     \
	X(uint32_t, dns_again, 1)                                                                                      \
	X(uint32_t, dns_timed, 1)                                                                                      \
	X(uint32_t, dns_sum_us, 1)

struct differences {
	DIFFERENCE_COLUMNS(AS_POINTER)
};

EXPORTED const char *const snf_difference_columns = DIFFERENCE_COLUMNS(AS_TEXT);
EXPORTED const uint64_t snf_flow_bytes = sizeof(struct flow);

#define PROTO_TCP 6
#define PROTO_UDP 17

/* Ports are in network order. */
static inline int is_dns_flow(const struct flow_key *key)
{
	uint16_t dns = __builtin_bswap16(53);

	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		dns = 53;
	return key->proto == PROTO_UDP && (key->port_a == dns || key->port_b == dns);
}

/* What of a direction any inspected flow has. *o* is its place in the columns. */
static inline void differ(const struct differences *out, uint64_t o, const struct flow *now, const struct flow *old,
			  int d, uint32_t had)
{
	uint32_t packets = now->packets[d] - old->packets[d], first = !had && packets;

	out->qfi[o] = now->qfi[d];
	out->octets[o] = now->bytes[d] - old->bytes[d];
	out->packets[o] = packets;
	out->payload_packets[o] = (uint32_t)(now->payload_packets[d] - old->payload_packets[d]);
	out->rtt_n[o] = now->rtt_n[d] - old->rtt_n[d];
	out->rtt_sum_us[o] = (uint32_t)(now->rtt_sum_us[d] - old->rtt_sum_us[d]);
	out->rtt_min_us[o] = now->rtt_min_us[d] == NO_RTT ? 0 : now->rtt_min_us[d];
	out->gap_n[o] = packets - first;
	out->gap_sum_us[o] = (uint64_t)(uint32_t)(now->gap_ticks[d] - old->gap_ticks[d]) * SNF_GAP_TICK_US;
	out->gap_sq_us2[o] =
		(uint64_t)(uint32_t)(now->gap_ticks2[d] - old->gap_ticks2[d]) * (SNF_GAP_TICK_US * SNF_GAP_TICK_US);
	out->gap_max_us[o] = (uint32_t)now->gap_max[d] * SNF_GAP_MAX_US;
}

/* The middle of the round trips that have a code, in us (bpf/telemetry.h). */
static inline uint32_t rtt_of_code(uint8_t code)
{
	return code < 8 ? 0 : (17u + 2 * (code & 7)) << (code >> 3) >> 2;
}

/* What of a direction its transport alone has. */
static inline void differ_by_transport(const struct differences *out, uint64_t o, const struct flow *now,
				       const struct flow *old, int d, int tcp, int rtp)
{
	const struct tcp_rare *rare = &now->rare.tcp, *rare_before = &old->rare.tcp;
	const struct rtp_state *r = &now->transport.rtp, *before = &old->transport.rtp;

	rtp = rtp && r->valid[d];
	out->retrans[o] = tcp ? rare->retrans[d] - rare_before->retrans[d] : 0;
	out->spurious[o] = tcp ? (uint8_t)(rare->spurious[d] - rare_before->spurious[d]) : 0;
	out->filled[o] = tcp ? (uint8_t)(now->filled[d] - old->filled[d]) : 0;
	out->rtt_high_us[o] = tcp || now->flags & FLOW_QUIC ? rtt_of_code(rare->rtt_high[d]) : 0;
	out->rtp_expected[o] = rtp ? r->expected[d] - before->expected[d] : 0;
	out->rtp_received[o] = rtp ? r->received[d] - before->received[d] : 0;
}

static inline void differ_by_dns(const struct differences *out, uint64_t i, const struct dns_state *now,
				 const struct dns_state *old, int dns)
{
	out->dns_queries[i] = dns ? now->queries - old->queries : 0;
	out->dns_answers[i] = dns ? now->answers - old->answers : 0;
	out->dns_sum_us[i] = dns ? now->sum_us - old->sum_us : 0;
	out->dns_failed[i] = dns ? (uint16_t)(now->failed - old->failed) : 0;
	out->dns_again[i] = dns ? (uint16_t)(now->again - old->again) : 0;
	out->dns_timed[i] = dns ? (uint16_t)(now->timed - old->timed) : 0;
}

/* n flows, of which flow i is at rows[i] of *flows* and *keys*, and at places[rows[i]] of *before*; known[i]: it was
 * there before. */
EXPORTED uint64_t snf_differences(const struct flow *flows, const struct flow_key *keys, const int64_t *rows,
				  const int64_t *places, const uint8_t *known, struct flow *before, uint64_t n,
				  const struct differences *out)
{
	static const struct flow none;

	for (uint64_t i = 0; i < n; i++) {
		const struct flow *now = &flows[rows[i]];
		struct flow *there = &before[places[rows[i]]];
		const struct flow *old = known[i] ? there : &none;
		const struct flow_key *key = &keys[rows[i]];
		int dns = is_dns_flow(key), tcp = key->proto == PROTO_TCP;
		int rtp = key->proto == PROTO_UDP && !dns && !((now->flags | old->flags) & FLOW_QUIC);
		int reverse = now->ue_end == SNF_UE_UNKNOWN ? !!(now->flags & FLOW_FIRST_B) : now->ue_end == SNF_UE_B;

		if (i + 4 < n) {
			PREFETCH(&before[places[rows[i + 4]]]);
			PREFETCH((const char *)&before[places[rows[i + 4]]] + 64);
			PREFETCH((const char *)&before[places[rows[i + 4]]] + 128);
		}
		out->flow_id[i] = now->number;
		out->session[i] = now->session;
		out->proto[i] = key->proto;
		for (int d = 0; d < 2; d++) {
			differ(out, 2 * i + (d ^ reverse), now, old, d, known[i]);
			differ_by_transport(out, 2 * i + (d ^ reverse), now, old, d, tcp, rtp);
		}
		differ_by_dns(out, i, &now->transport.dns, &old->transport.dns, dns);
		*there = *now;
	}
	return n;
}

#endif
