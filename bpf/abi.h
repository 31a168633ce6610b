/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Everything the kernel programs and user space share: numbers, keys, values, records, counters; declarations only,
 * in parts by who reads them. nf/abi.py reads numbers and counters out of these files, and numpy types are made of the
 * compiled structs, so that user space repeats nothing of them (tests/test_abi.py looks for copies).
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
#include "abi_details.h"
#include "abi_ways.h"
#include "abi_records.h"

#endif
