/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The C half of the yardstick (bench/yardstick.py): a hash table is filled and asked, beyond what a cache holds. */
#include <stdint.h>

/* SplitMix64: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, 2014, figure 17. */
static inline uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* The place of a key, or the first free one behind where it would be. No key is 0. */
static inline uint64_t place(const uint64_t *table, uint32_t bits, uint64_t key)
{
	uint64_t at = key >> (64 - bits), mask = (UINT64_C(1) << bits) - 1;

	while (table[at] && table[at] != key)
		at = (at + 1) & mask;
	return at;
}

/* Put 2^(bits - 1) keys into a table of 2^bits zeros, find all of them, and return the sum of places and keys. */
uint64_t yardstick(uint64_t *table, uint32_t bits)
{
	uint64_t state = 0, sum = 0, keys = UINT64_C(1) << (bits - 1), i;

	for (i = 0; i < keys; i++) {
		uint64_t key = next(&state) | 1;

		table[place(table, bits, key)] = key;
	}
	state = 0;
	for (i = 0; i < keys; i++) {
		uint64_t key = next(&state) | 1, at = place(table, bits, key);

		sum += at + table[at];
	}
	return sum;
}
