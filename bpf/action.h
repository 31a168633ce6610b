/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What happens to a packet after it was counted: by the mode of its port, and in mirror mode by the policy of its
 * application, which says how much of it a monitor port is to see. */
#ifndef SNF_ACTION_H
#define SNF_ACTION_H

#include "frame.h"
#include "parse.h"

#define MAC_BYTES 12 /* destination and source */
#define ETH_BYTES 14

#ifdef EGRESS

static __always_inline int decide(hook *ctx, struct frame *in, u32 signalling)
{
	in->st->n[SNF_C_passed] += FRAMES(ctx);
	return HOOK_PASS;
}

#else

/* A mirror port with a monitor: *length* bytes are not sent there. */
static __always_inline int withhold(struct port_stats *st, u32 length)
{
	st->n[SNF_C_monitor_saved] += length;
	st->n[SNF_C_dropped]++;
	return XDP_DROP;
}

static __always_inline int decide(hook *ctx, struct frame *in, u32 signalling)
{
	struct port_stats *st = in->st;
	struct port *p = in->p;

	if (p->mode == SNF_INLINE) {
		int action = tx_ports.redirect_map(p->peer, XDP_PASS);

		st->n[action == XDP_REDIRECT ? SNF_C_redirected : SNF_C_passed]++;
		return action;
	}
	if (p->mode == SNF_LOCAL || signalling) {
		st->n[SNF_C_passed]++;
		return HOOK_PASS;
	}
	if (p->monitor) {
		if (in->s->snap_length)
			next_program.call(ctx, NEXT_MONITOR);
		return withhold(st, FRAME_LENGTH(ctx));
	}
	st->n[SNF_C_dropped]++;
	return XDP_DROP;
}

/* Put the Ethernet header right before the inner packet. Returns the bytes taken off. */
static __always_inline u32 decapsulate(hook *ctx, struct scratch *s)
{
	u8 *data = (void *)(long)ctx->data, macs[MAC_BYTES];
	u32 at = s->inner_off;

	if (!s->gtpu || s->outer.fragment) /* the rest of the inner packet is in another one */
		return 0;
	if (at <= ETH_BYTES || (void *)data + MAC_BYTES > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(macs, data, MAC_BYTES);
	if (bpf_xdp_adjust_head(ctx, at - ETH_BYTES))
		return 0;
	data = (void *)(long)ctx->data;
	if ((void *)data + ETH_BYTES > (void *)(long)ctx->data_end)
		return 0;
	__builtin_memcpy(data, macs, MAC_BYTES);
	*(u16 *)(data + MAC_BYTES) = __builtin_bswap16(s->inner.ipv6 ? ETH_IPV6 : ETH_IPV4);
	return at - ETH_BYTES;
}

/* Send the packet of a mirror port to the monitor port, as much of it as its policy says. */
static __always_inline int monitor(hook *ctx, struct frame *in)
{
	struct port_stats *st = in->st;
	struct scratch *s = in->s;
	struct port *p = in->p;
	u32 length = FRAME_LENGTH(ctx), left = length, most = s->snap_length;
	int action;

	if (p->monitor & SNF_MONITOR_INNER) {
		u32 off = decapsulate(ctx, s);

		left -= off;
		if (off && ETH_BYTES + s->inner.total < most) /* the outer packet's padding is none of the inner one */
			most = ETH_BYTES + s->inner.total;
	}
	if (left > most) {
		if (bpf_xdp_adjust_tail(ctx, (int)most - (int)left))
			return withhold(st, length);
		left = most;
	}
	action = tx_ports.redirect_map(SNF_MONITOR_PORT, XDP_DROP);
	if (action != XDP_REDIRECT)
		return withhold(st, length);
	st->n[SNF_C_monitor_packets]++;
	st->n[SNF_C_monitor_octets] += left;
	st->n[SNF_C_monitor_saved] += length - left;
	st->n[SNF_C_redirected]++;
	return action;
}

#endif
#endif
