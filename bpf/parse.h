/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Ethernet, VLAN, IPv4, IPv6. Each function starts at an offset into the frame,
 * checks what it reads, and leaves the offset of the next header.
 */
#ifndef SNF_PARSE_H
#define SNF_PARSE_H

#include "bytes.h"
#include "packet.h"

#define MAX_VLANS	  TURNS(3)
#define MAX_IP_EXTENSIONS TURNS(6)

#define ETH_IPV4   0x0800
#define ETH_IPV6   0x86dd
#define ETH_8021Q  0x8100
#define ETH_8021AD 0x88a8
#define ETH_QINQ   0x9100

#define ETH_PPPOE 0x8864 /* RFC 2516, 4 */
#define PPP_IPV4  0x0021 /* RFC 1332, 2 */
#define PPP_IPV6  0x0057 /* RFC 5072, 2 */

#define PROTO_HOPOPTS  0
#define PROTO_ICMP     1
#define PROTO_TCP      6
#define PROTO_UDP      17
#define PROTO_ROUTING  43
#define PROTO_FRAGMENT 44
#define PROTO_AH       51
#define PROTO_NONE     59
#define PROTO_DSTOPTS  60
#define PROTO_MOBILITY 135

#define PORT_DNS  53
#define PORT_QUIC 443 /* RFC 9114, 3.3 */

#define JUMBO_OPTION                                                                                                   \
	0xc204 /* RFC 2675, 2: type and length, first in the hop-by-hop header as its alignment wants it               \
		*/
#define JUMBO_LEAST 65536
#define JUMBO_MOST  (1 << 24) /* stacks join some hundred thousand bytes */

enum parse_result { PARSE_OK, PARSE_TRUNCATED, PARSE_MALFORMED, PARSE_TOO_LONG, PARSE_NOT_IP };

/* *off behind the ethertype of a PPPoE session: the ethertype of what it carries, or its own when that is no IP. */
static __always_inline u16 parse_pppoe(void *data, void *end, u32 *off, u32 *why)
{
	u8 *h = data + (*off & MAX_OFFSET);
	u16 protocol;

	if ((void *)h + 8 > end) {
		*why = SNF_C_l2_truncated;
		return 0;
	}
	if (h[0] != 0x11 || h[1]) /* version 1, type 1, session data */
		return ETH_PPPOE;
	protocol = load16(h + 6);
	*off += 8;
	return protocol == PPP_IPV4 ? ETH_IPV4 : protocol == PPP_IPV6 ? ETH_IPV6 : ETH_PPPOE;
}

/* Return the ethertype behind the VLAN tags and set *off; 0 with *why set when there is none. */
static __always_inline u16 parse_l2(void *data, void *end, u32 *off, u32 *why)
{
	u16 type;
	u64 i;

	if (data + 14 > end) {
		*why = SNF_C_l2_truncated;
		return 0;
	}
	type = load16(data + 12);
	*off = 14;
#pragma unroll
	for (i = 0; i < MAX_VLANS; i++) {
		if (type != ETH_8021Q && type != ETH_8021AD && type != ETH_QINQ)
			return type == ETH_PPPOE ? parse_pppoe(data, end, off, why) : type;
		if (data + 18 + 4 * i > end) {
			*why = SNF_C_l2_truncated;
			return 0;
		}
		type = load16(data + 16 + 4 * i);
		*off = 18 + 4 * i;
	}
	if (type == ETH_8021Q || type == ETH_8021AD || type == ETH_QINQ) {
		*why = SNF_C_vlan_too_deep;
		return 0;
	}
	return type == ETH_PPPOE ? parse_pppoe(data, end, off, why) : type;
}

/* A length of zero is all that *limit*, the end of what is around, leaves: hosts write it where segments are cut or
 * were joined later, and where they are too long for the field. */
static __always_inline u32 parse_ipv4(void *data, void *end, struct scratch *s, struct ip *ip, u32 off, u32 limit)
{
	u8 *h = data + off;
	u32 length, fragment;

	if ((void *)h + 20 > end)
		return PARSE_TRUNCATED;
	if (h[0] >> 4 != 4)
		return PARSE_MALFORMED;
	length = (h[0] & 15) * 4;
	ip->total = load16(h + 2);
	if (!ip->total)
		ip->total = limit - off;
	if (length < 20 || ip->total < length)
		return PARSE_MALFORMED;
	if ((void *)h + length > end)
		return PARSE_TRUNCATED;
	fragment = load16(h + 6);
	ip->fragment = fragment & 0x1fff ? FRAGMENT_LATER : fragment & 0x2000 ? FRAGMENT_FIRST : FRAGMENT_NONE;
	ip->more = !!(fragment & 0x2000);
	ip->id = load16(h + 4);
	ip->proto = h[9];
	ip->ttl = h[8];
	ip->ipv6 = 0;
	*(u32 *)(ip->src + 12) = *(u32 *)(h + 12);
	*(u32 *)(ip->dst + 12) = *(u32 *)(h + 16);
	ip->end = off + ip->total;
	s->off = off + length;
	return PARSE_OK;
}

/* The length of an IPv6 packet whose field says zero: a jumbo option has it (RFC 2675), a packet without contents is
 * its header, and what else has such a field reaches to *limit*, as with IPv4. 0: the option is wrong. */
static __always_inline u32 long_ipv6(void *end, const u8 *h, u32 most)
{
	u32 jumbo;

	if (h[6] == PROTO_NONE)
		return 40;
	if (h[6] != PROTO_HOPOPTS || (void *)h + 48 > end || load16(h + 42) != JUMBO_OPTION)
		return most;
	jumbo = load32(h + 44);
	return jumbo < JUMBO_LEAST || jumbo >= JUMBO_MOST ? 0 : 40 + jumbo;
}

static __always_inline u32 parse_ipv6(void *data, void *end, struct scratch *s, struct ip *ip, u32 off, u32 limit)
{
	u8 *h = data + off;
	u32 next, length;
	u64 i;

	if ((void *)h + 40 > end)
		return PARSE_TRUNCATED;
	if (h[0] >> 4 != 6)
		return PARSE_MALFORMED;
	ip->total = 40 + load16(h + 4);
	if (ip->total == 40)
		ip->total = long_ipv6(end, h, limit - off);
	if (ip->total < 40)
		return PARSE_MALFORMED;
	ip->end = off + ip->total;
	ip->ipv6 = 1;
	ip->fragment = FRAGMENT_NONE;
	__builtin_memcpy(ip->src, h + 8, 16);
	__builtin_memcpy(ip->dst, h + 24, 16);
	next = h[6];
	ip->ttl = h[7];
	IN_MEMORY(s->off) = off + 40;
#pragma clang loop unroll(disable)
	for (i = 0; i <= MAX_IP_EXTENSIONS; i++) {
		if (next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_DSTOPTS && next != PROTO_FRAGMENT &&
		    next != PROTO_AH && next != PROTO_MOBILITY)
			break;
		off = IN_MEMORY(s->off);
		if (i == MAX_IP_EXTENSIONS || off > MAX_OFFSET)
			return PARSE_TOO_LONG;
		h = data + (off & MAX_OFFSET);
		if ((void *)h + 8 > end)
			return PARSE_TRUNCATED;
		length = next == PROTO_AH ? (h[1] + 2) * 4 : next == PROTO_FRAGMENT ? 8 : (h[1] + 1) * 8;
		if (next == PROTO_FRAGMENT) {
			u32 fragment = load16(h + 2);

			ip->more = fragment & 1;
			ip->id = load32(h + 4);
			if (fragment & 0xfff8)
				ip->fragment = FRAGMENT_LATER;
			else if (fragment & 1)
				ip->fragment = FRAGMENT_FIRST;
		}
		next = h[0];
		IN_MEMORY(s->off) = off + length;
		if (off + length > ip->end)
			return PARSE_MALFORMED;
		if (IN_MEMORY(ip->fragment) == FRAGMENT_LATER)
			break;
	}
	ip->proto = next;
	return IN_MEMORY(s->off) > MAX_OFFSET ? PARSE_TOO_LONG : PARSE_OK;
}

/* Version by the first nibble when type is 0 (the inside of a tunnel), else by the ethertype. *limit* is the offset of
 * the end of what is around the packet. */
static __always_inline u32 parse_ip(void *data, void *end, struct scratch *s, struct ip *ip, u16 type, u32 limit)
{
	u32 off = s->off;

	if (off > MAX_OFFSET)
		return PARSE_TOO_LONG;
	asm volatile("" : "+r"(off)); /* else the compiler drops the mask, and the verifier sees no bound */
	off &= MAX_OFFSET;
	if (!type) {
		u8 *h = data + off;

		if ((void *)h + 1 > end)
			return PARSE_TRUNCATED;
		type = h[0] >> 4 == 4 ? ETH_IPV4 : h[0] >> 4 == 6 ? ETH_IPV6 : 0;
	}
	if (type == ETH_IPV4)
		return parse_ipv4(data, end, s, ip, off, limit);
	if (type == ETH_IPV6)
		return parse_ipv6(data, end, s, ip, off, limit);
	return PARSE_NOT_IP;
}

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Ports, and for TCP what the flow needs of its header. Ports stay 0 for later fragments and for other protocols;
 * they are the first four octets, and known also when the rest of the header is cut off. Returns 0 when some of the
 * header is. */
static __always_inline u32 parse_l4(void *data, void *end, struct scratch *s, struct ip *ip)
{
	u32 off = s->off, length;
	u8 *h;

	s->sport = 0;
	s->dport = 0;
	s->payload_length = 0;
	s->tcp_flags = 0;
	s->seq = 0;
	s->ack = 0;
	s->whole_l4 = 0;
	if (ip->fragment == FRAGMENT_LATER || (ip->proto != PROTO_TCP && ip->proto != PROTO_UDP))
		return 1;
	if (off > MAX_OFFSET)
		return 0;
	off &= MAX_OFFSET;
	h = data + off;
	if ((void *)h + 4 > end || off + 4 > ip->end)
		return 0;
	s->sport = *(u16 *)h;
	s->dport = *(u16 *)(h + 2);
	if (ip->proto == PROTO_UDP) {
		if ((void *)h + 8 > end || off + 8 > ip->end)
			return 0;
		length = 8;
		s->seq = load16(h + 6); /* of UDP its check sum: what tells packets apart */
		s->ack = 0;
	} else {
		if ((void *)h + 20 > end || off + 20 > ip->end)
			return 0;
		length = (h[12] >> 4) * 4;
		if (length < 20 || off + length > ip->end)
			return 0;
		s->seq = load32(h + 4);
		s->ack = load32(h + 8);
		s->tcp_flags = h[13];
	}
	s->whole_l4 = 1;
	s->payload_off = off + length;
	s->payload_length = ip->end - off - length;
	return (void *)h + length <= end; /* a capture may have cut the options of TCP off, and they are not missed */
}

static __always_inline u32 is_dns(struct scratch *s)
{
	return s->sport == bpf_htons(PORT_DNS) || s->dport == bpf_htons(PORT_DNS);
}

#endif
