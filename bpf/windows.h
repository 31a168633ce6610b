/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Windows of TCP that a receiver closes because nobody reads what came. A window of zero says so. So does one that is
 * far below the largest one before, which is a buffer that is full for the most part; and a lower one that what is
 * under way fills up but for a segment.
 *
 * The scale of a window is told in the SYN (RFC 7323, 2.2), before anybody knows that the flow has a detail. A sender
 * keeps to the window, so that the scale is at least the one by which it holds the bytes under way; of a receiver who
 * holds up the sender they fill it, and it is just that one.
 */
#ifndef SNF_WINDOWS_H
#define SNF_WINDOWS_H

#include "bytes.h"
#include "parse.h"

#define SEGMENT	     1460      /* bytes of a segment at most (RFC 9293, 3.7.1, with an MTU of 1,500) */
#define SCALE_MOST   14	       /* RFC 7323, 2.3 */
#define FLIGHT_MOST  (1 << 30) /* the largest window; what is above is an acknowledgement of what did not pass here */
#define WINDOW_AT    14	       /* in the header */
#define QUARTERS     4
#define LOWER_AT     3 /* quarters of the largest window: no higher one is a lower one, */
#define FAR_BELOW_AT 1 /* and at this it is far below */

/* A packet of TCP announces a window for what comes from the other direction. */
static __always_inline void count_window(void *data, void *end, struct scratch *s, struct flow *f, struct window *w)
{
	u32 o = (s->dir & 1) ^ 1, flight, window;
	struct tcp_state *t = &f->transport.tcp;
	u8 *h;

	if ((s->tcp_flags & (TCP_SYN | TCP_RST | TCP_ACK)) != TCP_ACK || !(t->seen[o] & TCP_SEQ))
		return;
	h = bytes_at(data, end, s->off + WINDOW_AT, 2); /* off: still that of the TCP header */
	flight = t->max_seq[o] - s->ack;
	if (!h || flight > FLIGHT_MOST)
		return;
	window = load16(h);
	if (window > w->most)
		w->most = window;
	if (window && window << w->scale < flight && w->scale < SCALE_MOST)
		w->scale++;
	if (window * QUARTERS <= w->most * FAR_BELOW_AT ||
	    (window * QUARTERS <= w->most * LOWER_AT && (window << w->scale) - flight < SEGMENT))
		w->closed++;
}

#endif
