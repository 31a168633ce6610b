/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What was redirected and lost: a verdict is given before the other port takes the packet, and only tracepoints tell
 * whether it did. They see the devices of all network namespaces; those of other ones are left alone. Entered by the
 * kernel once for up to 16 frames, on the CPU that received them. */
#ifndef SNF_LOSS_H
#define SNF_LOSS_H

#include "packet.h"

#define LOOPBACK 1 /* interface index; frames that user space sends come from it */

/* The interface index of a device (struct net_device), 0 when it is of another namespace. */
static __always_inline u32 index_of(struct watch *w, u64 device)
{
	u32 netns = 0, ifindex = 0;
	u64 net = 0;

	bpf_probe_read_kernel(&net, sizeof(net), (void *)(device + w->net_at));
	bpf_probe_read_kernel(&netns, sizeof(netns), (void *)(net + w->netns_at));
	bpf_probe_read_kernel(&ifindex, sizeof(ifindex), (void *)(device + w->ifindex_at));
	return netns == w->netns ? ifindex : 0;
}

static __always_inline struct port *port_of(u32 ifindex)
{
	u32 at = ifindex & (SNF_PORTS - 1);
	struct port *p = ports.lookup(&at);

	return p && ifindex && p->ifindex == ifindex ? p : 0;
}

static __always_inline void lose(u32 slot, u32 counter, u32 frames)
{
	struct port_stats *st = stats.lookup(&slot);

	if (st)
		st->n[counter == SNF_C_redirect_lost ? SNF_C_redirect_lost : SNF_C_monitor_lost] += frames;
}

/* Frames that the device *from* received did not go where they were redirected to. */
static __always_inline void lose_of(u32 from, u32 frames, s32 error)
{
	struct port *p = port_of(from);
	struct refusal *r;
	u32 slot;

	if (!p)
		return;
	slot = p->slot;
	lose(slot, p->mode == SNF_INLINE ? SNF_C_redirect_lost : SNF_C_monitor_lost, frames);
	r = refusals.lookup(&slot);
	if (r && error) {
		r->error = error;
		__sync_fetch_and_add(&r->frames, frames);
	}
}

/* xdp:xdp_devmap_xmit: from device, to device, frames taken, frames not taken, error. */
int snf_sent(struct bpf_raw_tracepoint_args *ctx)
{
	u32 taken = ctx->args[2], lost = ctx->args[3], zero = 0, from;
	struct watch *w = watch.lookup(&zero);
	s32 error = ctx->args[4];

	if (!w || (!lost && !w->tried))
		return 0;
	from = index_of(w, ctx->args[0]);
	if (from != LOOPBACK) {
		if (lost)
			lose_of(from, lost, error);
		return 0;
	}
	if (w->tried && index_of(w, ctx->args[1]) == w->tried) {
		w->taken += taken;
		w->dropped += lost;
		w->error = error;
	}
	return 0;
}

/* xdp:xdp_redirect_err: device, program, target, error, and more. One frame, whose target cannot be sent to at all. */
int snf_refused(struct bpf_raw_tracepoint_args *ctx)
{
	struct watch *w;
	u32 zero = 0, from;
	s32 error = ctx->args[3];

	w = watch.lookup(&zero);
	if (!w)
		return 0;
	from = index_of(w, ctx->args[0]);
	if (from != LOOPBACK) {
		lose_of(from, 1, error);
	} else if (w->tried) {
		w->dropped++;
		w->error = error;
	}
	return 0;
}

/* xdp:xdp_exception: device, program, action. After a redirect in generic mode it is the target whose queue is
 * stopped; which port the frame came from is not told. */
int snf_stuck(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0, to, action = ctx->args[2];
	struct watch *w = watch.lookup(&zero);
	struct scratch *s;
	struct port *p;

	if (!w || action != XDP_TX)
		return 0;
	to = index_of(w, ctx->args[0]);
	p = port_of(to);
	if (p && p->mode == SNF_INLINE) {
		lose(p->peer, SNF_C_redirect_lost, 1);
	} else if (to && to == w->monitor) {
		s = scratch.lookup(&zero); /* of the packet that this CPU is at */
		if (s)
			lose(s->slot, SNF_C_monitor_lost, 1);
	}
	return 0;
}

/* Run on frames of user space's own: sends them out of the port that is tried; an index that no port has lets them
 * go on into the stack of the device that they are said to come from. */
int snf_try(struct xdp_md *ctx)
{
	u32 zero = 0;
	struct watch *w = watch.lookup(&zero);

	return w ? tx_ports.redirect_map(w->target, XDP_PASS) : XDP_DROP;
}

#endif
