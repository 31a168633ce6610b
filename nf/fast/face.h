/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The words that C and Python share. A set of columns is declared once, as a list X(type, name, width): it becomes a
 * struct with a pointer a column, and a text by which Python fills that struct (nf/fast/library.py). So no order, type
 * or shape is written twice.
 */
#ifndef SNF_FAST_FACE_H
#define SNF_FAST_FACE_H

#include <stdint.h>

#define EXPORTED       __attribute__((visibility("default")))
#define PREFETCH(what) __builtin_prefetch((const void *)(what))

#define AS_POINTER(type, name, width) type *name;
#define AS_NUMBER(type, name, width)  type name;
#define AS_TEXT(type, name, width)    #name ":" #type ":" #width " "

/* A number of every key is spread over a power of two of places by its upper bits (Knuth, TAOCP 3, 6.4). */
static inline uint32_t place_of(int64_t key, uint32_t mask)
{
	return (uint32_t)(((uint64_t)key * 0x9e3779b97f4a7c15ull) >> 32) & mask;
}

#endif
