/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What a flood may cost. State that a packet of nobody known asks for (a flow without a session, a GTP-U path) is
 * made at a limited rate a port and CPU, so that it neither drives out the state of known subscribers nor fills a ring.
 * The bucket is the generic cell rate algorithm (ITU-T I.371, Annex A): one time instead of a level and a time. */
#ifndef SNF_LIMIT_H
#define SNF_LIMIT_H

#include "maps.h"

#define LIMIT_BURST_NS 1000000000ull /* a second's worth at once: a site that starts, or a gNB that comes back */

static __always_inline u32 over_limit(u32 slot, struct control *c, u64 now)
{
	u64 *full_at = births.lookup(&slot), at;

	if (!full_at || !c->birth_gap_ns) /* a replay has no limit */
		return 0;
	at = *full_at;
	if (at < now)
		at = now;
	if (at - now > LIMIT_BURST_NS)
		return 1;
	*full_at = at + c->birth_gap_ns;
	return 0;
}

#endif
