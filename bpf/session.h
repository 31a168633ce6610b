/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Whose a packet is: the session table. An entry is in the emptier one of the two buckets that its key hashes to, and
 * never moves, so that a reader needs no lock and misses none. With 15 entries a bucket (SNF_ENTRIES), two choices fill
 * 85 % of the table before an entry finds no room (Azar et al., Balanced Allocations, STOC 1994; nf/kernel/sessions.py
 * measures it). */
#ifndef SNF_SESSION_H
#define SNF_SESSION_H

#include "hash.h"
#include "packet.h"

/* Of the address of a UE: of IPv6 its /64. */
static __always_inline u32 ue_hash(u32 ipv6, const u8 *address)
{
	const u32 *w = (const u32 *)address;

	return ipv6 ? mix(w[0], w[1]) * GOLDEN : w[3] * GOLDEN;
}

static __always_inline u32 link_local(const u8 *address)
{
	return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* Changes when a change of the session table may be about a flow between these ends. */
static __always_inline u32 generation(struct scratch *s, struct control *c)
{
	u32 src = ue_hash(s->inner.ipv6, s->inner.src), dst = ue_hash(s->inner.ipv6, s->inner.dst);
	u32 family = SNF_IPV4;

	if (s->inner.ipv6)
		family = link_local(s->inner.src) || link_local(s->inner.dst) ? SNF_LINK_LOCAL : SNF_IPV6;
	return c->generation[family] + c->ranges[src >> (32 - SNF_RANGE_BITS)] +
	       c->ranges[dst >> (32 - SNF_RANGE_BITS)];
}

#define BYTES(b) (0x0101010101010101ull * (b))

/* The high bit of each byte that is zero (Warren, Hacker's Delight, 6-1). */
static __always_inline u64 zero_bytes(u64 x)
{
	return ~((x & BYTES(0x7f)) + BYTES(0x7f) | x | BYTES(0x7f));
}

/* The number of the lowest byte of which the high bit is set; 8 when there is none. */
static __always_inline u32 lowest(u64 bits)
{
	return (((bits & -bits) - 1) >> 7 & BYTES(1)) * BYTES(1) >> 56;
}

/* Leave the entry in s->found if it is the one that is looked for. */
static __always_inline void check(struct scratch *s, struct bucket *b, u32 at, u32 more)
{
	struct entry *e;

	if (at >= SNF_ENTRIES) /* no byte was the same */
		return;
	e = &b->entries[at];
	if (!((e->key ^ s->wanted.key) | ((e->head ^ s->wanted.head) & s->which) | ((e->more ^ s->wanted.more) & more)))
		s->found = *e;
}

/* The tag of an entry: a byte of its hash that is neither of those with a meaning of their own. */
static __always_inline u32 tag_of(u32 h)
{
	u32 tag = h & 0xff;

	return tag == TAG_FREE ? TAG_FREE + 1 : tag == TAG_HELD ? TAG_HELD - 1 : tag;
}

_Static_assert(SNF_SAME_TAGS == 2, "find looks at two");

/* Look s->wanted up, by the bits s->which of its head, and leave the entry in s->found, with session 0 when there is
 * none. It is straight code because the verifier goes through a loop once for each way that leads to it. */
static __always_inline u32 find(struct scratch *s)
{
	u32 of = s->wanted.head & ENTRY_KIND, more = of == ENTRY_IPV6 ? ~0u : 0, n, word;
	u32 h = mix(mix(mix(0, s->wanted.key), of == ENTRY_TUNNEL ? s->wanted.head : of), s->wanted.more);
	u64 tag = BYTES((u64)tag_of(h));

	s->found.session = 0;
#pragma unroll
	for (n = 0; n < 2; n++) {
		u32 at = (u64)h * s->session_buckets >> 32;
		struct bucket *b = sessions.lookup(&at);

		if (!b)
			return 0;
#pragma unroll
		for (word = 0; word < 2; word++) {
			u64 same = zero_bytes(b->tags[word] ^ tag);

			check(s, b, 8 * word + lowest(same), more);
			check(s, b, 8 * word + lowest(same & (same - 1)), more);
		}
		h = mix(h, GOLDEN);
	}
	return s->found.session;
}

/* Is the inner packet of the UE that the tunnel in s->found is for? A TEID that was given to another UE is seen here
 * even before the signalling that says so. Link-local addresses belong to any UE. */
static __always_inline u32 is_of_ue(struct scratch *s)
{
	const u8 *ue = s->found.head & ENTRY_DOWNLINK ? s->inner.dst : s->inner.src;
	u32 head = s->found.head, h = ue_hash(s->inner.ipv6, ue);

	if (!s->inner.ipv6)
		return !(head & ENTRY_HAS_IPV4) ||
		       (head & ENTRY_HAS_IPV6 ? (u16)s->found.more == h >> 16 : s->found.more == h);
	return !(head & ENTRY_HAS_IPV6) || link_local(ue) ||
	       (head & ENTRY_HAS_IPV4 ? s->found.more >> 16 == h >> 16 : s->found.more == h);
}

/* The session that has an address of a network instance; of any, while one alone has it, for a port that names none. */
static __always_inline u32 session_of_ue(struct scratch *s, u32 instance, const u8 *address)
{
	const u32 *w = (const u32 *)address;

	s->wanted.key = s->inner.ipv6 ? w[0] : w[3];
	s->wanted.more = s->inner.ipv6 ? w[1] : 0;
	s->wanted.head = (s->inner.ipv6 ? ENTRY_IPV6 : ENTRY_IPV4) | (instance & ENTRY_SCOPE);
	s->which = instance ? ENTRY_KIND | ENTRY_SCOPE : ENTRY_KIND | ENTRY_SHARED;
	return find(s);
}

/* The session that has the longest prefix which an address is in, by its tunnel or in a network instance. */
static __always_inline u32 session_of_route(struct scratch *s, u32 kind, u32 scope, const u8 *address)
{
	u32 *session;

	s->route.prefix = 8 * (sizeof(s->route) - sizeof(s->route.prefix));
	s->route.kind = kind;
	s->route.scope = scope;
	__builtin_memcpy(s->route.address, address, 16);
	session = routes.lookup(&s->route);
	return session ? *session : 0;
}

/* Look the tunnel that the packet is in up; 0: nobody has it. */
static __always_inline u32 find_tunnel(struct scratch *s)
{
	u32 *endpoint = endpoints.lookup((struct address *)s->outer.dst);

	if (!endpoint)
		return 0;
	s->wanted.key = s->teid;
	s->wanted.more = 0;
	s->wanted.head = ENTRY_TUNNEL | (*endpoint & ENTRY_SCOPE);
	s->which = ENTRY_KIND | ENTRY_SCOPE;
	return find(s);
}

/* Leave in s whose the packet is by the session table: of which session by its tunnel, or on N6 by its UE's address, of
 * which group, and which way it flows. */
static __always_inline void look_session_up(struct scratch *s, struct control *c, struct port_stats *st, u32 instance,
					    u32 role)
{
	u32 in_tunnel = 0;

	s->session_buckets = c->buckets;
	s->session = 0;
	s->group = 0;
	s->way = SIDE_UNKNOWN;
	if (role == SNF_N3 || s->gtpu)
		in_tunnel = find_tunnel(s);
	if (role == SNF_N3 || in_tunnel || s->gtpu == IN_TUNNEL) {
		if (!in_tunnel)
			return;
		s->way = s->found.head & ENTRY_DOWNLINK ? SNF_DOWNLINK : SNF_UPLINK;
		/* Through memory, so that the verifier goes through what follows once. */
		IN_MEMORY(s->session) = is_of_ue(s) ? s->found.session : 0;
		if (!IN_MEMORY(s->session) && s->found.head & ENTRY_ROUTED)
			IN_MEMORY(s->session) = session_of_route(s, ROUTE_OF_TUNNEL, s->found.session,
								 s->way == SNF_DOWNLINK ? s->inner.dst : s->inner.src);
		if (!IN_MEMORY(s->session)) {
			st->n[SNF_C_ue_mismatch]++;
			return;
		}
	} else if (s->side != SNF_DOWNLINK && session_of_ue(s, instance, s->inner.src)) {
		s->way = SNF_UPLINK; /* a line that nobody configured is known by its end's address, when that is */
	} else if (s->side != SNF_UPLINK && session_of_ue(s, instance, s->inner.dst)) {
		s->way = SNF_DOWNLINK;
	} else if (c->routes) {
		s->found.session =
			s->side == SNF_DOWNLINK ? 0 : session_of_route(s, ROUTE_OF_INSTANCE, instance, s->inner.src);
		if (s->found.session)
			s->way = SNF_UPLINK;
		else if (s->side != SNF_UPLINK &&
			 (s->found.session = session_of_route(s, ROUTE_OF_INSTANCE, instance, s->inner.dst)))
			s->way = SNF_DOWNLINK;
	}
	s->session = s->found.session;
	if (!c->groups || !s->session)
		return;
	s->wanted.key = s->session;
	s->wanted.more = 0;
	s->wanted.head = ENTRY_GROUP;
	s->which = ENTRY_KIND;
	if (find(s))
		s->group = s->found.more;
}

#endif
