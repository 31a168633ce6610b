/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Ways of packets, and how long they take: tunnel paths, QoS flows, the UPF. Read by nf/kernel/paths.py,
 * nf/flows/echoes.py, nf/flows/delays.py and nf/kernel/histograms.py. */
#ifndef SNF_ABI_WAYS_H
#define SNF_ABI_WAYS_H

/* Two tunnel ends, named by who sends the echo request. */
struct path_key {
	__u8 from[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 to[16];
};
_Static_assert(sizeof(struct path_key) == 32, "path_key is ABI");

struct path {
	__u64 last_ns;
	__u64 rtt_sum_us;
	__u32 rtt_n;
	__u32 rtt_min_us;
	__u32 rtt_last_us;
	__u32 requests;
	__u32 responses;
	__u32 error_indications; /* sent by `from` */
	__u64 rtt_last_ns;	 /* when the last answer came that was timed */
	__u8 pad[16];
};
_Static_assert(sizeof(struct path) == 64, "path is ABI");

/* What PDU Session Containers measure of a QoS flow. Index [2]: enum snf_side. */
struct delay_key {
	__u32 session; /* 0: unknown, then the TEID of the packet says whose it is */
	__u32 teid;
	__u32 qfi;
};
_Static_assert(sizeof(struct delay_key) == 12, "delay_key is ABI");

struct delay {
	__u32 ran_sum_ms[2]; /* NG-RAN and radio, as the gNB says (TS 38.415, 5.5.3.14 and 5.5.3.16) */
	__u32 ran_n[2];
	__u64 n3_sum_us; /* round trip from here to the gNB */
	__u32 n3_n;
	__u32 sequence[2]; /* last one */
	__u32 expected[2];
	__u32 received[2];
	__u32 pad;
};
_Static_assert(sizeof(struct delay) == 56, "delay is ABI");

/* The way through the UPF, by session. Index [2]: enum snf_side. */
struct transit {
	__u64 sum_us[2];
	__u32 n[2];
	__u32 seen[2]; /* packets that were followed; those above n were seen on one side only */
};
_Static_assert(sizeof(struct transit) == 32, "transit is ABI");

/* Delays that are counted one by one, by length (histogram.h), in the order of DELAY_MEASURES of feed/records.py. */
enum snf_delay {
	DELAY_RAN_UL = 0,
	DELAY_RAN_DL = 1,
	DELAY_N3_RTT = 2,
	DELAY_UPF_UL = 3,
	DELAY_UPF_DL = 4,
	DELAY_N3_ECHO = 5,
};
#define SNF_DELAYS  6
#define SNF_BUCKETS 336 /* of microseconds up to 2^24, sixteen a power of two */

/* Delays of one place by measure and bucket. They only grow, and come round. */
struct delay_counts {
	__u32 n[SNF_DELAYS * SNF_BUCKETS]; /* bcc takes an array in two dimensions for one of the first */
};
_Static_assert(sizeof(struct delay_counts) == 8064, "delay_counts is ABI");

/* A tunnel that its receiving end knows no more: it answers user data with error indications (TS 29.281, 7.3.1). */
struct tunnel_key {
	__u8 address[16]; /* of who receives; IPv4 as ::ffff:a.b.c.d */
	__u32 teid;
};
_Static_assert(sizeof(struct tunnel_key) == 20, "tunnel_key is ABI");

struct tunnel_error {
	__u64 last_ns;
	__u32 count;
	__u32 pad;
};
_Static_assert(sizeof(struct tunnel_error) == 16, "tunnel_error is ABI");

#endif
