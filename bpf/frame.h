/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What every program of a port begins with: the frame's port, its counters, and the packet in it. */
#ifndef SNF_FRAME_H
#define SNF_FRAME_H

#include "hook.h"
#include "packet.h"

struct frame {
	struct port *p;
	struct port_stats *st;
	struct scratch *s;
	struct control *c; /* NULL where a program asks for none */
};

enum asks { ASKS_PORT, ASKS_CONTROL };

/* Returns 0 when there is nothing to work on. */
static __always_inline u32 enter(hook *ctx, struct frame *in, enum asks asks)
{
	u32 slot = PORT_OF(ctx) & (SNF_PORTS - 1), zero = 0;

	in->p = ports.lookup(&slot);
	in->c = asks == ASKS_CONTROL ? control.lookup(&zero) : NULL;
	in->s = scratch.lookup(&zero);
	if (!in->p || (asks == ASKS_CONTROL && !in->c) || !in->s)
		return 0;
	slot = in->p->slot;
	in->st = stats.lookup(&slot);
	return !!in->st;
}

#endif
