/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The clock. Most packets need to know the time to a tick of the kernel only (CONFIG_HZ, 1 to 10 ms): the number
 * of the tick is in memory, and user space says what time one of them had. fine_clock() asks the hardware, which costs
 * as much as the rest of the parser; it is for what is timed to the microsecond.
 */
#ifndef SNF_CLOCK_H
#define SNF_CLOCK_H

#include "packet.h"

#define NS_PER_S    1000000000
#define NS_PER_US   1000
#define US_PER_MS   1000
#define TICK_MAX_US 10000    /* CONFIG_HZ is 100 or more */
#define RTT_MAX_US  10000000 /* an answer after ten seconds is an answer to something else */

#ifdef REPLAY
#define CLOCK_NS(c)  ((c)->clock_ns)
#define COARSE_US(c) ((u32)((c)->clock_ns / NS_PER_US))
#else
#define CLOCK_NS(c)  bpf_ktime_get_ns()
#define COARSE_US(c) ((u32)((bpf_jiffies64() - (c)->tick) * (c)->tick_us_q20 >> 20) + (c)->tick_at_us)
#endif

static __always_inline void coarse_clock(struct scratch *s, struct control *c)
{
	s->fine = 0;
	s->now_us = COARSE_US(c);
}

static __always_inline u32 fine_clock(struct scratch *s, struct control *c)
{
	if (!s->fine) {
		s->fine = 1;
		s->now_ns = CLOCK_NS(c);
		s->now_us = s->now_ns / NS_PER_US;
	}
	return s->now_us;
}

/* Zero says that nothing is running or was seen. */
static __always_inline u32 nonzero(u32 us)
{
	return us ? us : 1;
}

#endif
