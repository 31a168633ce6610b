/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Fragments: the later ones have no ports and no GTP-U header, and are known by the first one. */
#ifndef SNF_FRAGMENTS_H
#define SNF_FRAGMENTS_H

#include "hash.h"
#include "parse.h"

/* The ports of a fragment: the first one has them and leaves them for the later ones. The last to come is
 * the one that completes the datagram, whichever it is. */
static __always_inline void fragment_ports(struct scratch *s)
{
	struct fragment_key k;
	struct fragment new = {}, *known;

	if (s->inner.proto != PROTO_TCP && s->inner.proto != PROTO_UDP)
		return;
	full_addresses(&s->inner);
	full_addresses(&s->outer);
	__builtin_memcpy(k.src, s->inner.src, 16);
	__builtin_memcpy(k.dst, s->inner.dst, 16);
	k.id = s->inner.id;
	k.proto = s->inner.proto;
	if (s->gtpu) /* the copy of the datagram on another leg has fragments of its own */
		k.proto |= fold(s->outer.dst) << 8;
	known = fragments.lookup(&k);
	if (s->inner.fragment == FRAGMENT_FIRST) {
		new.ports = (u32)s->dport << 16 | s->sport;
		if (known && known->last)
			s->inner.more = 0;
		fragments.update(&k, &new);
	} else if (known && known->ports) {
		s->sport = (u16)known->ports;
		s->dport = known->ports >> 16;
	} else if (!s->inner.more) {
		new.last = 1;
		fragments.update(&k, &new);
	}
}

#define FRAGMENT_OF_TUNNEL     0x80000000 /* in fragment_key.proto: of an outer packet */
#define FRAGMENT_OF_SIGNALLING 0x40000000

/* Fragments of an outer packet: what it is, the first one says. */
static __always_inline u32 outer_fragment(struct scratch *s, u32 first, u32 kind)
{
	struct fragment new = {}, *known;
	struct fragment_key k;

	full_addresses(&s->outer);
	__builtin_memcpy(k.src, s->outer.src, 16);
	__builtin_memcpy(k.dst, s->outer.dst, 16);
	k.id = s->outer.id;
	k.proto = s->outer.proto | kind;
	known = fragments.lookup(&k);
	if (first)
		fragments.update(&k, &new);
	return !!known;
}

/* Is a later fragment of a datagram whose first one was read as a packet like others? */
static __always_inline u32 fragment_read(struct scratch *s)
{
	struct fragment_key k;
	struct fragment *known;

	full_addresses(&s->outer);
	__builtin_memcpy(k.src, s->outer.src, 16);
	__builtin_memcpy(k.dst, s->outer.dst, 16);
	k.id = s->outer.id;
	k.proto = s->outer.proto;
	known = fragments.lookup(&k);
	return known && known->ports;
}

/* Those of a tunnel packet: the first one has the T-PDU's header, and with it is counted the whole. */
static __always_inline u32 tunnel_fragment(struct scratch *s, u32 first)
{
	return outer_fragment(s, first, FRAGMENT_OF_TUNNEL);
}

#endif
