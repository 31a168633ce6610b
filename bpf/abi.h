/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Everything the kernel programs and user space share: keys, values, records, counters; declarations only. In parts, by
 * who reads them. User space derives its numpy types from these structs and the names of the counters from their list.
 *
 * Two ends of a flow are `a` and `b`, ordered by address and port; direction 0
 * goes from a to b, direction 1 back. Which end is the UE is `ue_end`.
 */
#ifndef SNF_ABI_H
#define SNF_ABI_H

/* How often a loop may turn. A build of twice as many turns is loaded, never run: it shows the room that is left until
 * the verifier's limits (make kernels). */
#ifndef LOOPS
#define LOOPS 1
#endif
#define TURNS(n) ((n)*LOOPS)

#include "abi_counters.h"
#include "abi_ports.h"
#include "abi_sessions.h"
#include "abi_control.h"
#include "abi_flows.h"
#include "abi_ways.h"
#include "abi_records.h"

#endif
