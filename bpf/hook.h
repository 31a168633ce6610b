/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Where the programs run: at XDP, on what a port receives, or with -DEGRESS at the clsact hook of tc(8), on what it
 * sends. The text is the same; here is all that is not. What differs costs the other build no instruction.
 *
 * A packet on its way out belongs to this host: it is counted and goes on, whatever the mode of its port is.
 */
#ifndef SNF_HOOK_H
#define SNF_HOOK_H

#include "maps.h"

#ifdef EGRESS

typedef struct __sk_buff hook;

#define HOOK_PASS    -1 /* TC_ACT_UNSPEC: the next filter decides, as if there were no program */
#define HOOK_DROP    HOOK_PASS
#define PORT_OF(ctx) ((ctx)->ifindex)

/* As it will be on the wire: a segment of several packets is cut later, and each gets all headers. */
#define WIRE_OCTETS(ctx, s) ((ctx)->wire_len)
#define FRAME_LENGTH(ctx)   ((ctx)->len)
#define SEGMENTS(s)	    ((s)->segments)
#define FRAMES(ctx)	    ((ctx)->gso_segs ? (ctx)->gso_segs : 1)

#define LINEAR 1536 /* bytes of a packet that programs read; headers of all kinds, names and first payloads */

/* Bring the beginning of a packet to where programs read it. What a host joined is left as it is: its headers are
 * there, and the kernel cuts it by how it lies in memory. */
static __always_inline void make_linear(hook *ctx)
{
	u32 here = ctx->data_end - ctx->data, most = ctx->len < LINEAR ? ctx->len : LINEAR;

	if (here < most && !ctx->gso_size)
		bpf_skb_pull_data(ctx, most);
}

#else

typedef struct xdp_md hook;

#define HOOK_PASS	    XDP_PASS
#define HOOK_DROP	    XDP_DROP
#define PORT_OF(ctx)	    ((ctx)->ingress_ifindex)
#define WIRE_OCTETS(ctx, s) ((s)->frame_length)
#define SEGMENTS(s)	    1
#define FRAMES(ctx)	    1

#ifdef XDP_FRAGS	       /* the kernel takes frames of several buffers; all headers are in the first */
static u64 (*xdp_get_buff_len)(void *) = (void *)188; /* Linux 5.18; not every bcc has a name for it */
#define ONE_BUFFER	  1536 /* a frame of several buffers fills the first one beyond this */

static __always_inline u32 frame_length(hook *ctx)
{
	u32 length = ctx->data_end - ctx->data;

	return length < ONE_BUFFER ? length : xdp_get_buff_len(ctx);
}
#define FRAME_LENGTH(ctx) frame_length(ctx)
#else
#define FRAME_LENGTH(ctx) ((u32)((ctx)->data_end - (ctx)->data))
#endif

static __always_inline void make_linear(hook *ctx)
{
}

#endif
#endif
