/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Flows to rows, one a (subscriber, application): what `reference` of nf/subscribers/sums.py says, in one pass over the
 * flows. The formulas are explained there; sums are taken in the order of the flows, as there, so that both agree to
 * the last bit. [2]: direction, or side of a round trip, in the order of nf/flows/batch.py.
 */
#ifndef SNF_FAST_GROUP_H
#define SNF_FAST_GROUP_H

#include <math.h>
#include <string.h>

#include "face.h"

/* Columns of nf.flows.batch.FlowBatch that rows are made of. */
#define FLOW_COLUMNS(X)                                                                                                \
	X(uint16_t, app, 1)                                                                                            \
	X(uint8_t, basis, 1)                                                                                           \
	X(uint8_t, confidence, 1)                                                                                      \
	X(uint8_t, proto, 1)                                                                                           \
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
	X(uint32_t, rtp_received, 2)

/* Columns of nf.subscribers.sums.Rows; rank is the place of the strongest ground. */
#define ROW_COLUMNS(X)                                                                                                 \
	X(int64_t, first, 1)                                                                                           \
	X(int64_t, largest, 1)                                                                                         \
	X(int64_t, flows, 1)                                                                                           \
	X(uint8_t, rank, 1)                                                                                            \
	X(double, confidence, 1)                                                                                       \
	X(uint64_t, octets, 2)                                                                                         \
	X(uint64_t, packets, 2)                                                                                        \
	X(uint64_t, rtt_n, 2)                                                                                          \
	X(double, rtt_mean_ms, 2)                                                                                      \
	X(double, rtt_min_ms, 2)                                                                                       \
	X(double, rtt_high_ms, 2)                                                                                      \
	X(double, lost, 2)                                                                                             \
	X(double, sent, 2)                                                                                             \
	X(double, before, 2)                                                                                           \
	X(uint8_t, rtp, 2)                                                                                             \
	X(double, jitter_ms, 2)                                                                                        \
	X(double, gap_mean_ms, 2)                                                                                      \
	X(double, gap_max_ms, 2)                                                                                       \
	X(double, gap_max_any_ms, 2)                                                                                   \
	X(double, bulk_octets, 2)                                                                                      \
	X(double, bulk_packets, 2)                                                                                     \
	X(double, busy_s, 2)                                                                                           \
	X(double, busiest_s, 2)

/* Constants of nf/subscribers/sums.py, which has their sources, and the interval. */
#define RULES(X)                                                                                                       \
	X(double, interval_s, 1)                                                                                       \
	X(double, media_packets, 1)                                                                                    \
	X(double, bulk_packet_bytes, 1)                                                                                \
	X(double, pause_round_trips, 1)                                                                                \
	X(double, pause_least_us, 1)                                                                                   \
	X(double, pause_unknown_us, 1)                                                                                 \
	X(double, pause_most_us, 1)                                                                                    \
	X(double, gap_cut_us, 1)                                                                                       \
	X(double, fastest_bps, 1)                                                                                      \
	X(double, tcp, 1)                                                                                              \
	X(double, udp, 1)                                                                                              \
	X(double, contradicted, 1)                                                                                     \
	X(double, most_filled, 1)

struct flows {
	FLOW_COLUMNS(AS_POINTER)
};

struct rows {
	ROW_COLUMNS(AS_POINTER)
};

struct rules {
	RULES(AS_NUMBER)
};

EXPORTED const char *const snf_flow_columns = FLOW_COLUMNS(AS_TEXT);
EXPORTED const char *const snf_row_columns = ROW_COLUMNS(AS_TEXT);
EXPORTED const char *const snf_rules = RULES(AS_TEXT);

struct sum {
	uint64_t octets[2], packets[2], rtt_n[2];
	int64_t first, largest, flows; /* the first two: -1 before there is one */
	uint64_t largest_octets;
	double trust, weight; /* bytes times confidence; bytes */
	double rtt_sum_us[2], rtt_min_us[2], rtt_high_us[2];
	double missing[2], expected[2], resent[2], segments[2], before[2];
	double media_n[2], media_variance[2], media_gap[2], media_gap_max[2];
	double any_n[2], any_gap_max[2];
	double bulk_octets[2], bulk_packets[2], busy_s[2], busiest_s[2];
	uint8_t rank;
};

EXPORTED const uint64_t snf_sum_bytes = sizeof(struct sum);

#define AHEAD 8 /* flows: what they need comes from memory meanwhile */

/* Number the distinct of n keys in the order of their first; table is zero, of mask + 1 > n places, and distinct has
 * room for n. Returns how many there are. */
EXPORTED uint64_t snf_group_find(const int64_t *key, uint64_t n, uint32_t *table, uint32_t mask, uint32_t *row_of,
				 int64_t *distinct)
{
	uint32_t count = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint32_t at = place_of(key[i], mask);

		if (i + AHEAD < n)
			PREFETCH(&table[place_of(key[i + AHEAD], mask)]);
		while (table[at] && distinct[table[at] - 1] != key[i])
			at = (at + 1) & mask;
		if (!table[at]) {
			distinct[count] = key[i];
			table[at] = ++count;
		}
		row_of[i] = table[at] - 1;
	}
	return count;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

static double smaller(double a, double b)
{
	return a < b ? a : b;
}

/* The gap in us above which a flow pauses. */
static double pause_us(const struct flows *f, uint64_t i, const struct rules *r)
{
	double trip;

	if (!f->rtt_n[2 * i] || !f->rtt_n[2 * i + 1])
		return r->pause_unknown_us;
	trip = r->pause_round_trips * ((double)f->rtt_min_us[2 * i] + (double)f->rtt_min_us[2 * i + 1]);
	return smaller(larger(trip, r->pause_least_us), r->pause_most_us);
}

static double busy_us(double octets, double gap_sum, double gap_sq, double gap_max, double pause, const struct rules *r)
{
	double longest = smaller(gap_max, r->gap_cut_us), idle = 0;

	if (longest > pause)
		idle = larger((gap_sq - pause * gap_sum) / (longest - pause), longest);
	return larger(gap_sum - idle, octets * 8e6 / r->fastest_bps);
}

static void add_transport(struct sum *s, const struct flows *f, uint64_t i, int d, const struct rules *r)
{
	uint64_t at = 2 * i + d;
	double missing = (double)f->rtp_expected[at] - (double)f->rtp_received[at];

	s->missing[d] += larger(missing, 0);
	s->expected[d] += f->rtp_expected[at];
	if (f->proto[i] == r->tcp) {
		double resent = f->retrans[at], segments = (double)f->payload_packets[at];

		s->resent[d] += resent - f->spurious[at];
		s->before[d] += resent > r->most_filled ? resent / 2 : f->filled[at];
		s->segments[d] += resent > 0 ? larger(segments, resent + 1) : segments;
	}
	s->rtt_n[d] += f->rtt_n[at];
	s->rtt_sum_us[d] += (double)f->rtt_sum_us[at];
	s->rtt_high_us[d] += (double)f->rtt_n[at] * f->rtt_high_us[at];
	if (f->rtt_n[at])
		s->rtt_min_us[d] = smaller(s->rtt_min_us[d], f->rtt_min_us[at]);
}

static void add_gaps(struct sum *s, const struct flows *f, uint64_t i, int d, const struct rules *r, double pause)
{
	uint64_t at = 2 * i + d, packets = f->packets[at] ? f->packets[at] : 1;
	double n = f->gap_n[at], gap_max = f->gap_max_us[at], octets = (double)f->octets[at];
	double gap_sum = (double)f->gap_sum_us[at], gap_sq = (double)f->gap_sq_us2[at];

	s->any_n[d] += n;
	if (n > 0)
		s->any_gap_max[d] = larger(s->any_gap_max[d], gap_max);
	if (f->proto[i] == r->udp && n >= r->media_packets) {
		double mean = n > 0 ? gap_sum / n : 0, square = n > 0 ? gap_sq / n : 0;

		s->media_n[d] += n;
		s->media_variance[d] += n * larger(square - mean * mean, 0);
		s->media_gap[d] += gap_sum;
		s->media_gap_max[d] = larger(s->media_gap_max[d], gap_max);
	}
	if (octets >= r->bulk_packet_bytes * (double)packets) {
		double busy_s = busy_us(octets, gap_sum, gap_sq, gap_max, pause, r) / 1e6;

		s->bulk_octets[d] += octets;
		s->bulk_packets[d] += (double)f->packets[at];
		s->busy_s[d] += busy_s;
		s->busiest_s[d] = larger(s->busiest_s[d], busy_s);
	}
}

static void add_flow(struct sum *s, const struct flows *f, uint64_t i, const struct rules *r, const uint8_t *rank,
		     uint64_t ranks)
{
	double octets = (double)f->octets[2 * i] + (double)f->octets[2 * i + 1], pause = pause_us(f, i, r);
	uint8_t basis = f->basis[i];

	if (basis >= ranks || (!f->app[i] && basis != r->contradicted))
		basis = 0;
	if (s->first < 0)
		s->first = (int64_t)i;
	if (s->largest < 0 || f->octets[2 * i] + f->octets[2 * i + 1] > s->largest_octets) {
		s->largest = (int64_t)i;
		s->largest_octets = f->octets[2 * i] + f->octets[2 * i + 1];
	}
	s->flows++;
	if (rank[basis] < s->rank)
		s->rank = rank[basis];
	s->trust += octets * f->confidence[i];
	s->weight += octets;
	for (int d = 0; d < 2; d++) {
		s->octets[d] += f->octets[2 * i + d];
		s->packets[d] += f->packets[2 * i + d];
		add_transport(s, f, i, d, r);
		add_gaps(s, f, i, d, r, pause);
	}
}

/* Add n flows to the sums of their rows; row_of[i] < count is the row of flow i. rank: place of each ground, by its
 * number. */
EXPORTED void snf_group_add(const struct flows *f, uint64_t n, const uint32_t *row_of, uint64_t count,
			    const struct rules *r, const uint8_t *rank, uint64_t ranks, struct sum *sums)
{
	memset(sums, 0, count * sizeof(*sums));
	for (uint64_t k = 0; k < count; k++) {
		sums[k].first = sums[k].largest = -1;
		sums[k].rank = UINT8_MAX;
		sums[k].rtt_min_us[0] = sums[k].rtt_min_us[1] = INFINITY;
	}
	for (uint64_t i = 0; i < n; i++) {
		if (i + AHEAD < n)
			for (uint64_t line = 0; line < sizeof(*sums); line += 64)
				PREFETCH((const char *)&sums[row_of[i + AHEAD]] + line);
		add_flow(&sums[row_of[i]], f, i, r, rank, ranks);
	}
}

static double over(double value, double count, double empty)
{
	return count > 0 ? value / count : empty;
}

static void row_of_direction(const struct rows *out, uint64_t k, int d, const struct sum *s, const struct rules *r)
{
	uint64_t at = 2 * k + d;
	int rtp = s->expected[d] > 0, media = s->media_n[d] > 0;

	out->octets[at] = s->octets[d];
	out->packets[at] = s->packets[d];
	out->rtt_n[at] = s->rtt_n[d];
	out->rtt_mean_ms[at] = over(s->rtt_sum_us[d] / 1000, (double)s->rtt_n[d], NAN);
	out->rtt_high_ms[at] = over(s->rtt_high_us[d] / 1000, (double)s->rtt_n[d], NAN);
	out->rtt_min_ms[at] = isinf(s->rtt_min_us[d]) ? NAN : s->rtt_min_us[d] / 1000;
	out->rtp[at] = (uint8_t)rtp;
	out->lost[at] = rtp ? s->missing[d] : s->resent[d];
	out->sent[at] = rtp ? s->expected[d] : s->segments[d];
	out->before[at] = rtp ? s->missing[d] : s->before[d];
	out->jitter_ms[at] = sqrt(over(s->media_variance[d], s->media_n[d], NAN)) / 1000;
	out->gap_mean_ms[at] = over(s->media_gap[d], s->media_n[d], NAN) / 1000;
	out->gap_max_ms[at] = media ? s->media_gap_max[d] / 1000 : NAN;
	out->gap_max_any_ms[at] = s->any_n[d] > 0 ? s->any_gap_max[d] / 1000 : NAN;
	out->bulk_octets[at] = s->bulk_octets[d];
	out->bulk_packets[at] = s->bulk_packets[d];
	out->busy_s[at] = smaller(s->busy_s[d], r->interval_s);
	out->busiest_s[at] = smaller(s->busiest_s[d], r->interval_s);
}

/* Write the rows of count sums. */
EXPORTED void snf_group_rows(const struct sum *sums, uint64_t count, const struct rules *r, const struct rows *out)
{
	for (uint64_t k = 0; k < count; k++) {
		const struct sum *s = &sums[k];

		out->first[k] = s->first;
		out->largest[k] = s->largest;
		out->flows[k] = s->flows;
		out->rank[k] = s->rank;
		out->confidence[k] = over(s->trust, s->weight, 0);
		for (int d = 0; d < 2; d++)
			row_of_direction(out, k, d, s, r);
	}
}

#endif
