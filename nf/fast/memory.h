/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a key is remembered by between intervals: sums that fade, and the least value of the last seconds with its
 * samples; what `Remembered` of nf/subscribers/fading.py says, with one struct a key, found by a hash. The caller
 * (nf/fast/memory.py) owns the memory, makes room before a call, and forgets: rows tell only in which call they were
 * last seen, and a call that is forgotten takes its rows along.
 */
#ifndef SNF_FAST_MEMORY_H
#define SNF_FAST_MEMORY_H

#include <math.h>

#include "face.h"

/* rows: of the width below; index: mask + 1 places, 0 or the number of a row plus one; weight: of the sums of each call
 * that is remembered, width max(sums, 1), negative: forgotten; left: rows that each of these calls loses now. */
#define MEMORY_COLUMNS(X)                                                                                              \
	X(uint64_t, rows, 1)                                                                                           \
	X(uint32_t, index, 1)                                                                                          \
	X(double, weight, 1)                                                                                           \
	X(int64_t, left, 1)

/* key: distinct; the others are what is new, and then what is remembered. */
#define RECALLED_COLUMNS(X)                                                                                            \
	X(int64_t, key, 1)                                                                                             \
	X(double, sums, 1)                                                                                             \
	X(double, least, 1)                                                                                            \
	X(double, samples, 1)

struct memory {
	MEMORY_COLUMNS(AS_POINTER)
};

struct recalled {
	RECALLED_COLUMNS(AS_POINTER)
};

EXPORTED const char *const snf_memory_columns = MEMORY_COLUMNS(AS_TEXT);
EXPORTED const char *const snf_recalled_columns = RECALLED_COLUMNS(AS_TEXT);

struct least {
	double window, now, now_n, before, before_n; /* number of the window; its minimum and samples; those before */
};

struct remembered {
	int64_t key;
	uint64_t call; /* number of the call in which it was last seen */
	struct least least;
	double sum[];
};

EXPORTED const uint64_t snf_remembered_bytes = sizeof(struct remembered);

struct shape {
	uint64_t sums, mask, first_call, call;
	double window;
};

static struct remembered *row_at(const struct memory *m, uint64_t row, uint64_t sums)
{
	return (struct remembered *)(m->rows + row * (sizeof(struct remembered) / sizeof(uint64_t) + sums));
}

/* Return the place in the index of a key, or the empty one where it belongs. */
static uint32_t *find(const struct memory *m, int64_t key, const struct shape *s)
{
	uint32_t at = place_of(key, (uint32_t)s->mask);

	while (m->index[at] && row_at(m, m->index[at] - 1, s->sums)->key != key)
		at = (at + 1) & (uint32_t)s->mask;
	return &m->index[at];
}

static const double *weight_of(const struct memory *m, const struct remembered *row, const struct shape *s)
{
	const double *weight;

	if (row->call < s->first_call)
		return 0;
	weight = m->weight + (row->call - s->first_call) * (s->sums ? s->sums : 1);
	return weight[0] < 0 ? 0 : weight;
}

static void recall_least(struct least *l, double window, double *least, double *samples)
{
	double age = window - l->window;

	if (age >= 1) {
		l->before = age < 2 ? l->now : INFINITY;
		l->before_n = age < 2 ? l->now_n : 0;
		l->now = INFINITY;
		l->now_n = 0;
	}
	l->window = window;
	if (*samples > 0 && *least < l->now)
		l->now = *least;
	l->now_n += *samples;
	*least = l->now < l->before ? l->now : l->before;
	*samples = l->now_n + l->before_n;
}

static void recall(const struct memory *m, struct remembered *row, int is_new, const struct shape *s,
		   const struct recalled *io, uint64_t i)
{
	const double *weight = is_new ? 0 : weight_of(m, row, s);

	if (weight)
		m->left[row->call - s->first_call]++;
	else
		row->least = (struct least){s->window, INFINITY, 0, INFINITY, 0};
	row->call = s->call;
	for (uint64_t k = 0; k < s->sums; k++) {
		double *sum = &io->sums[i * s->sums + k];

		row->sum[k] = *sum = weight ? *sum + row->sum[k] * weight[k] : *sum;
	}
	recall_least(&row->least, s->window, &io->least[i], &io->samples[i]);
}

/* Remember n keys, of which none comes twice; there is room for n more rows, and the index has more places than that.
 * Returns the number of rows. */
EXPORTED uint64_t snf_remember(const struct memory *m, uint64_t stored, uint64_t sums, uint64_t mask,
			       uint64_t first_call, uint64_t call, double window, const struct recalled *io, uint64_t n)
{
	struct shape s = {sums, mask, first_call, call, window};

	for (uint64_t i = 0; i < n; i++) {
		uint32_t *place;
		int is_new;

		if (i + 16 < n)
			PREFETCH(&m->index[place_of(io->key[i + 16], (uint32_t)mask)]);
		if (i + 8 < n) {
			uint32_t row = m->index[place_of(io->key[i + 8], (uint32_t)mask)];

			if (row) {
				PREFETCH(row_at(m, row - 1, sums));
				PREFETCH((const char *)row_at(m, row - 1, sums) + 64);
			}
		}
		place = find(m, io->key[i], &s);
		is_new = !*place;
		if (is_new) {
			*place = (uint32_t)++stored;
			row_at(m, stored - 1, sums)->key = io->key[i];
		}
		recall(m, row_at(m, *place - 1, sums), is_new, &s, io, i);
	}
	return stored;
}

/* Fill an index, which is zero, with the rows that are stored. */
EXPORTED void snf_remember_index(const struct memory *m, uint64_t stored, uint64_t sums, uint64_t mask)
{
	struct shape s = {sums, mask, 0, 0, 0};

	for (uint64_t row = 0; row < stored; row++)
		*find(m, row_at(m, row, sums)->key, &s) = (uint32_t)row + 1;
}

#endif
