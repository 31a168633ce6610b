/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Where each wanted key is in a sorted column, and whether it is there: `at` of nf/flows/search.py. Wanted keys mostly
 * rise as well, so that each is looked for from where the one before was, in steps that double: two columns that are
 * alike are read once, side by side.
 */
#ifndef SNF_FAST_SEARCH_H
#define SNF_FAST_SEARCH_H

#include "face.h"

/* A search for each type of key: the place of the first of n > 0 sorted keys that is not below what is wanted, the last
 * one where all are. */
#define SEARCH(type, name)                                                                                             \
	static uint64_t name##_first(const type *keys, uint64_t n, type wanted, uint64_t from)                         \
	{                                                                                                              \
		uint64_t low = from, high = n, step = 1;                                                               \
                                                                                                                       \
		if (from && keys[from - 1] >= wanted) {                                                                \
			low = 0;                                                                                       \
			high = from - 1;                                                                               \
		} else {                                                                                               \
			while (low < n && keys[low] < wanted && low + step < n && keys[low + step] < wanted) {         \
				low += step;                                                                           \
				step *= 2;                                                                             \
			}                                                                                              \
			if (low + step < n)                                                                            \
				high = low + step;                                                                     \
		}                                                                                                      \
		while (low < high) {                                                                                   \
			uint64_t middle = low + (high - low) / 2;                                                      \
                                                                                                                       \
			if (keys[middle] < wanted)                                                                     \
				low = middle + 1;                                                                      \
			else                                                                                           \
				high = middle;                                                                         \
		}                                                                                                      \
		return low;                                                                                            \
	}                                                                                                              \
                                                                                                                       \
	EXPORTED uint64_t name(const type *keys, uint64_t n, const type *wanted, uint64_t count, int64_t *rows,        \
			       uint8_t *there)                                                                         \
	{                                                                                                              \
		uint64_t place = 0, found = 0;                                                                         \
                                                                                                                       \
		for (uint64_t i = 0; i < count; i++) {                                                                 \
			place = name##_first(keys, n, wanted[i], place);                                               \
			rows[i] = (int64_t)(place < n ? place : n - 1);                                                \
			there[i] = keys[rows[i]] == wanted[i];                                                         \
			found += there[i];                                                                             \
		}                                                                                                      \
		return found;                                                                                          \
	}

SEARCH(int64_t, snf_at_signed)
SEARCH(uint64_t, snf_at_unsigned)

#endif
