// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The compiled passes over columns. Each is a pure function over memory that its caller owns, and each has a reference
 * in numpy that says the same (nf/fast/__init__.py has the list). A pass over states of the kernel's flows reads them
 * by the structs of abi.h, in place.
 */
#include <linux/types.h>

#include "../../bpf/abi.h"
#include "differences.h"
#include "group.h"
#include "memory.h"
#include "search.h"

/* Of which text this is a build: nf/fast/build.py says it, nf/fast/library.py asks. */
EXPORTED const char *const snf_fast_build = SNF_FAST_BUILD;
EXPORTED const char *const snf_fast_compiler = __VERSION__;
