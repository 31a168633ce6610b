/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The least that any tool does with a packet in a tunnel: find the inner 5-tuple, look it up, count.
 *
 * Ethernet, IPv4 and UDP without options, and a GTP-U header of the one form that the frames of bench/rig.py have: E
 * set, a PDU Session Container (TS 29.281, 5.1 and 5.2.2.7). What ours costs beyond this buys sessions, names and QoE.
 */
struct five_tuple {
	u32 src;
	u32 dst;
	u16 sport;
	u16 dport;
	u32 proto;
};

struct sums {
	u64 packets;
	u64 octets; /* inner IP length */
};

/* Written by the program only; nobody reads it but the check that all flows are there. */
BPF_TABLE("lru_hash", struct five_tuple, struct sums, flows, ROOM);

int least(struct xdp_md *ctx)
{
	u8 *h = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct five_tuple key;
	struct sums *sums;
	u16 octets;

	if (h + 82 > end)
		return XDP_ABORTED;
	if (*(u16 *)(h + 12) != bpf_htons(0x0800) || h[14] != 0x45 || h[23] != 17 ||
	    *(u16 *)(h + 36) != bpf_htons(2152))
		return XDP_ABORTED;
	/* Flags and G-PDU; the type of the next extension header; the inner IPv4. */
	if (*(u16 *)(h + 42) != bpf_htons(0x34ff) || h[53] != 0x85 || h[58] != 0x45)
		return XDP_ABORTED;
	key.src = *(u32 *)(h + 70);
	key.dst = *(u32 *)(h + 74);
	key.sport = *(u16 *)(h + 78);
	key.dport = *(u16 *)(h + 80);
	key.proto = h[67];
	octets = bpf_ntohs(*(u16 *)(h + 60));
	sums = flows.lookup(&key);
	if (sums) {
		sums->packets++;
		sums->octets += octets;
	} else {
		struct sums first = {.packets = 1, .octets = octets};

		flows.update(&key, &first);
	}
	return XDP_DROP;
}
