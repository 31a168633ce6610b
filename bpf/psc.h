/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What the PDU Session Container measures (TS 38.415, 5.5.2.1 and 5.5.2.2): delays of the radio network as the gNB
 * reports them, the round trip of N3 by the time stamps of QoS monitoring, and sequence numbers of a QoS flow.
 *
 * The round trip needs no common clock: from the downlink packet passing here to the uplink packet that repeats its
 * time stamp, less the time that the gNB had it, by the gNB's own two stamps (TS 23.501, 5.33.3.2).
 */
#ifndef SNF_PSC_H
#define SNF_PSC_H

#include "bytes.h"
#include "clock.h"
#include "histogram.h"

#define PSC_DL_QMP    0x08 /* first octet, type 0 */
#define PSC_DL_SNP    0x04
#define PSC_DL_PPP    0x80 /* second octet, type 0 */
#define PSC_UL_QMP    0x08 /* first octet, type 1 */
#define PSC_UL_DL_IND 0x04
#define PSC_UL_UL_IND 0x02
#define PSC_UL_SNP    0x01
#define PSC_UL_N3N9   0x80 /* second octet, type 1 */
#define SEQUENCE_MASK 0xffffff
#define SEQUENCE_STEP 0x10000 /* a larger step is another count */

/* Does a container of this direction measure anything, by its first two octets? */
static __always_inline u32 psc_measures(u32 uplink, u8 first, u8 second)
{
	if (uplink)
		return first & (PSC_UL_QMP | PSC_UL_DL_IND | PSC_UL_UL_IND | PSC_UL_SNP) || second & PSC_UL_N3N9;
	return first & (PSC_DL_QMP | PSC_DL_SNP) || second & PSC_DL_PPP;
}

/* The next `n` octets of the container, or NULL when it ends before. */
static __always_inline u8 *psc_take(void *data, void *end, struct scratch *s, u32 n)
{
	u32 at = IN_MEMORY(s->psc_at);

	if (at + n > s->psc_end)
		return NULL;
	IN_MEMORY(s->psc_at) = at + n;
	return bytes_at(data, end, at, n);
}

/* Time of the 64-bit NTP format (RFC 5905, 6) in nanoseconds. */
static __always_inline u64 ntp_ns(u64 ntp)
{
	return (ntp >> 32) * NS_PER_S + ((ntp & 0xffffffff) * NS_PER_S >> 32);
}

static __always_inline struct delay *delay_of(struct scratch *s, u32 session)
{
	struct delay_key k = {.session = session, .teid = session ? 0 : s->teid, .qfi = s->qfi};
	struct delay none = {}, *d = delays.lookup(&k);

	if (d)
		return d;
	delays.insert(&k, &none);
	return delays.lookup(&k);
}

static __always_inline void psc_result(struct scratch *s, struct delay *d, u32 side, u32 ms)
{
	d->ran_sum_ms[side] += ms;
	d->ran_n[side]++;
	delayed(s, DELAY_RAN_UL + side, ms > DELAY_LAST_US / US_PER_MS ? DELAY_LAST_US : ms * US_PER_MS);
}

static __always_inline void psc_sequence(struct delay *d, u32 side, u32 sequence)
{
	u32 step = (sequence - d->sequence[side]) & SEQUENCE_MASK;

	if (!d->received[side] || (step >= SEQUENCE_STEP && step <= SEQUENCE_MASK + 1 - SEQUENCE_STEP)) {
		d->sequence[side] = sequence;
		d->expected[side]++;
	} else if (step && step < SEQUENCE_STEP) {
		d->sequence[side] = sequence;
		d->expected[side] += step;
	}
	d->received[side]++;
}

/* A downlink packet passes with its sending time: remember when, for the uplink packet that repeats it. */
static __always_inline void psc_sent(struct scratch *s, u32 session, u64 stamp)
{
	struct stamp_key k = {.stamp = stamp, .session = session, .qfi = s->qfi};

	stamps.update(&k, &s->now_ns);
}

static __always_inline void psc_round_trip(struct scratch *s, struct delay *d, u32 session, u64 sent, u64 at_gnb_ns)
{
	struct stamp_key k = {.stamp = sent, .session = session, .qfi = s->qfi};
	u64 *passed = stamps.lookup(&k), gone;
	u32 us;

	if (!passed)
		return;
	gone = s->now_ns - *passed;
	stamps.delete(&k);
	if (gone < at_gnb_ns || gone - at_gnb_ns > RTT_MAX_US * (u64)NS_PER_US)
		return;
	us = (gone - at_gnb_ns) / NS_PER_US;
	d->n3_sum_us += us;
	d->n3_n++;
	delayed(s, DELAY_N3_RTT, us);
}

/* s->psc_at behind the two first octets of the container. Returns 0 when a field lies outside of it. */
static __always_inline u32 psc_downlink(void *data, void *end, struct scratch *s, struct delay *d, u32 session)
{
	u8 *h;

	if (s->psc_second & PSC_DL_PPP && !psc_take(data, end, s, 1)) /* the paging policy is no time */
		return 0;
	if (s->psc_first & PSC_DL_QMP) {
		h = psc_take(data, end, s, 8);
		if (!h)
			return 0;
		psc_sent(s, session, load64(h));
	}
	if (s->psc_first & PSC_DL_SNP) {
		h = psc_take(data, end, s, 3);
		if (!h)
			return 0;
		psc_sequence(d, SNF_DOWNLINK, (u32)h[0] << 16 | load16(h + 1));
	}
	return 1;
}

static __always_inline u32 psc_uplink(void *data, void *end, struct scratch *s, struct delay *d, u32 session)
{
	u8 *h;

	if (s->psc_first & PSC_UL_QMP) {
		u64 sent, at_gnb;

		h = psc_take(data, end, s, 24);
		if (!h)
			return 0;
		sent = load64(h);
		at_gnb = load64(h + 16) - load64(h + 8);
		psc_round_trip(s, d, session, sent, ntp_ns(at_gnb));
	}
	if (s->psc_first & PSC_UL_DL_IND) {
		h = psc_take(data, end, s, 4);
		if (!h)
			return 0;
		psc_result(s, d, SNF_DOWNLINK, load32(h));
	}
	if (s->psc_first & PSC_UL_UL_IND) {
		h = psc_take(data, end, s, 4);
		if (!h)
			return 0;
		psc_result(s, d, SNF_UPLINK, load32(h));
	}
	if (s->psc_first & PSC_UL_SNP) {
		h = psc_take(data, end, s, 3);
		if (!h)
			return 0;
		psc_sequence(d, SNF_UPLINK, (u32)h[0] << 16 | load16(h + 1));
	}
	if (s->psc_second & PSC_UL_N3N9 && !psc_take(data, end, s, 4)) /* a mean of N3 and N9 that is timed here */
		return 0;
	return 1;
}

/* Read the measurements of the container that the parser met. */
static __always_inline void psc_measure(void *data, void *end, struct scratch *s, struct port_stats *st, u32 session)
{
	struct delay *d = delay_of(s, session);

	if (!d)
		return;
	if (s->side == SNF_UPLINK ? !psc_uplink(data, end, s, d, session) : !psc_downlink(data, end, s, d, session))
		st->n[SNF_C_psc_malformed]++;
	else
		st->n[SNF_C_psc_measured]++;
}

#endif
