/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What a mirror, or the network it copies from, puts around a packet, and Ethernet frames in a tunnel of a subscriber:
 *
 *     snf_n3, snf_n6, snf_any -- what they do not read --> snf_outer -- offset of the IP packet --> the same again
 *     snf_bare: the packets of a port without Ethernet header ---------------------------------------'
 *
 * A port whose frames are plain IP over Ethernet never comes here. Which of these are read is a matter of the port
 * (enum snf_encapsulation); what is not is counted by its name. A tunnel that is not opened is a packet like others.
 */
#ifndef SNF_OUTER_H
#define SNF_OUTER_H

#include "fragments.h"
#include "frame.h"
#include "naming.h"
#include "session.h"

#define MAX_HEADERS 12 /* that are looked through at once */
#define MAX_LABELS  3

#define ETH_MPLS      0x8847 /* RFC 5332, 3 */
#define ETH_MPLS_UP   0x8848
#define ETH_SGT	      0x8909 /* Cisco TrustSec: version, length, option, group, and an ethertype again */
#define ETH_MACSEC    0x88e5 /* IEEE 802.1AE */
#define ETH_PBB	      0x88e7 /* IEEE 802.1ah */
#define ETH_BRIDGED   0x6558 /* RFC 7637, 3.2: a frame in GRE */
#define ETH_ERSPAN    0x88be /* I and II, draft-foschiano-erspan */
#define ETH_ERSPAN3   0x22eb
#define PORT_VXLAN    4789 /* RFC 7348, 5 */
#define PROTO_GRE     47
#define VXLAN_HAS_VNI 0x08

#define GRE_CHECKSUM 0x8000 /* RFC 2784, 2; RFC 2890, 2 */
#define GRE_ROUTING  0x4000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_VERSION  0x0007

/* What begins at s->off. */
enum open {
	OPEN_ETHERNET,
	OPEN_TYPE /* what s->open_type says */,
	OPEN_VXLAN /* its UDP header */,
	OPEN_GRE,
	OPEN_LABELS
};
enum through { THROUGH_MORE, THROUGH_IP, THROUGH_NOT_IP, THROUGH_CUT, THROUGH_UNREAD };

/* Count a frame that a program meets first. */
static __always_inline void begin_frame(hook *ctx, struct scratch *s, struct control *c, struct port_stats *st)
{
	s->closed = 0;
	s->snap_length = 0;
	s->frame_length = FRAME_LENGTH(ctx);
#ifdef REPLAY /* a capture may have cut it off */
	if (s->frame_length < c->wire_length)
		s->frame_length = c->wire_length;
#endif
	st->n[SNF_C_frames] += FRAMES(ctx);
	st->n[SNF_C_octets] += WIRE_OCTETS(ctx, s);
}

/* Counters of frames in which outer.h may find more. */
static __always_inline u32 may_hide(u32 why)
{
	return why == SNF_C_not_ip || why == SNF_C_vlan_too_deep || why == SNF_C_inner_not_ip ||
	       why == SNF_C_inner_truncated || why == SNF_C_inner_malformed || why == SNF_C_inner_ext_too_long;
}

/* s->off at the header of a tunnel that is none of N3. Returns where it is not opened, or cannot be. */
static __always_inline void open_outer(hook *ctx, struct scratch *s, u32 open)
{
	s->why = WHY_TUNNEL;
	s->open = open;
	next_program.call(ctx, NEXT_OUTER);
}

static __always_inline u32 is_tag(u16 type)
{
	return type == ETH_8021Q || type == ETH_8021AD || type == ETH_QINQ;
}

static __always_inline void read_next(struct scratch *s, u32 open, u32 octets)
{
	IN_MEMORY(s->off) = IN_MEMORY(s->off) + octets;
	IN_MEMORY(s->open) = open;
}

/* Is this kind of header read on the port? What is not is counted by this counter. */
static __always_inline u32 may_open(struct scratch *s, u32 kind, u32 counter)
{
	IN_MEMORY(s->why) = counter;
	return s->opens & kind;
}

static __always_inline u32 through_type(void *end, struct scratch *s, u8 *h)
{
	u16 type = IN_MEMORY(s->open_type), protocol;

	if (is_tag(type)) {
		if ((void *)h + 4 > end)
			return THROUGH_CUT;
		IN_MEMORY(s->open_type) = load16(h + 2);
		read_next(s, OPEN_TYPE, 4);
		return THROUGH_MORE;
	}
	if (type == ETH_MPLS || type == ETH_MPLS_UP) {
		IN_MEMORY(s->labels) = 0;
		IN_MEMORY(s->open) = OPEN_LABELS;
		return may_open(s, SNF_OPEN_MPLS, SNF_C_mpls_unread) ? THROUGH_MORE : THROUGH_UNREAD;
	}
	if (type != ETH_SGT && type != ETH_PPPOE)
		return THROUGH_NOT_IP;
	if (type == ETH_SGT && !may_open(s, SNF_OPEN_SGT, SNF_C_sgt_unread))
		return THROUGH_UNREAD;
	if ((void *)h + 8 > end)
		return THROUGH_CUT;
	protocol = load16(h + 6);
	if (type == ETH_PPPOE) {
		if (h[0] != 0x11 || h[1])
			return THROUGH_NOT_IP;
		protocol = protocol == PPP_IPV4 ? ETH_IPV4 : protocol == PPP_IPV6 ? ETH_IPV6 : 0;
	}
	IN_MEMORY(s->open_type) = protocol;
	read_next(s, OPEN_TYPE, 8);
	return THROUGH_MORE;
}

/* Behind the last label is IP, by its version, or a frame with or without a control word before it (RFC 4448, 4.6). */
static __always_inline u32 through_label(void *end, struct scratch *s, u8 *h)
{
	u32 version;

	if ((void *)h + 4 > end)
		return THROUGH_CUT;
	read_next(s, OPEN_LABELS, 4);
	if (!(h[2] & 1)) {
		IN_MEMORY(s->labels) = IN_MEMORY(s->labels) + 1;
		return IN_MEMORY(s->labels) == MAX_LABELS ? THROUGH_UNREAD : THROUGH_MORE;
	}
	if ((void *)h + 6 > end)
		return THROUGH_CUT;
	version = h[4] >> 4;
	if (version == 4 || version == 6) {
		IN_MEMORY(s->open_type) = version == 4 ? ETH_IPV4 : ETH_IPV6;
		IN_MEMORY(s->open) = OPEN_TYPE;
		return THROUGH_MORE;
	}
	read_next(s, OPEN_ETHERNET, load16(h + 4) ? 0 : 4);
	return THROUGH_MORE;
}

static __always_inline u32 through_gre(void *end, struct scratch *s, u8 *h)
{
	u32 flags, length = 4;
	u16 type;

	IN_MEMORY(s->why) = SNF_C_gre_unread;
	if ((void *)h + 4 > end)
		return THROUGH_CUT;
	flags = load16(h);
	type = load16(h + 2);
	length += (flags & GRE_CHECKSUM ? 4 : 0) + (flags & GRE_KEY ? 4 : 0) + (flags & GRE_SEQUENCE ? 4 : 0);
	if (flags & (GRE_ROUTING | GRE_VERSION))
		return THROUGH_UNREAD;
	if (type == ETH_ERSPAN || type == ETH_ERSPAN3) {
		if (!may_open(s, SNF_OPEN_ERSPAN, SNF_C_erspan_unread))
			return THROUGH_UNREAD;
		if (type == ETH_ERSPAN) {
			read_next(s, OPEN_ETHERNET, flags & GRE_SEQUENCE ? length + 8 : length);
			return THROUGH_MORE;
		}
		h += length;
		if ((void *)h + 12 > end)
			return THROUGH_CUT;
		read_next(s, OPEN_ETHERNET, h[11] & 1 ? length + 20 : length + 12);
		return THROUGH_MORE;
	}
	if (!may_open(s, SNF_OPEN_GRE, SNF_C_gre_unread))
		return THROUGH_UNREAD;
	if (type != ETH_BRIDGED && type != ETH_IPV4 && type != ETH_IPV6 && type != ETH_MPLS && type != ETH_MPLS_UP)
		return THROUGH_UNREAD;
	IN_MEMORY(s->open_type) = type;
	read_next(s, type == ETH_BRIDGED ? OPEN_ETHERNET : OPEN_TYPE, length);
	return THROUGH_MORE;
}

/* Read the header at s->off. */
static __always_inline u32 through_header(void *data, void *end, struct scratch *s)
{
	u32 off = IN_MEMORY(s->off), open = IN_MEMORY(s->open);
	u16 type = IN_MEMORY(s->open_type);
	u8 *h = data + (off & MAX_OFFSET);

	if (off > MAX_OFFSET)
		return THROUGH_CUT;
	if (open == OPEN_TYPE)
		return type == ETH_IPV4 || type == ETH_IPV6 ? THROUGH_IP : through_type(end, s, h);
	if (open == OPEN_LABELS)
		return through_label(end, s, h);
	if (open == OPEN_GRE)
		return through_gre(end, s, h);
	if (open == OPEN_VXLAN) {
		if (!may_open(s, SNF_OPEN_VXLAN, SNF_C_vxlan_unread))
			return THROUGH_UNREAD;
		if ((void *)h + 16 > end)
			return THROUGH_CUT;
		read_next(s, OPEN_ETHERNET, 16);
		return h[8] & VXLAN_HAS_VNI ? THROUGH_MORE : THROUGH_UNREAD;
	}
	if ((void *)h + 14 > end)
		return THROUGH_CUT;
	IN_MEMORY(s->open_type) = load16(h + 12);
	read_next(s, OPEN_TYPE, 14);
	return THROUGH_MORE;
}

/* Find the IP packet behind the header at s->off: s->off is where it begins and s->open_type its ethertype. */
static __always_inline u32 look_through(void *data, void *end, struct scratch *s)
{
	u32 result = THROUGH_MORE;
	u64 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < MAX_HEADERS; i++) {
		result = through_header(data, end, s);
		if (result != THROUGH_MORE)
			break;
	}
	return result == THROUGH_MORE ? THROUGH_UNREAD : result;
}

/* The frame of a port that copies packets without their Ethernet header: its length is that of an IP packet. */
static __always_inline u16 bare_type(void *data, void *end, struct scratch *s)
{
	u8 *h = data;

	if ((void *)h + 20 > end)
		return 0;
	if (h[0] >> 4 == 4 && (h[0] & 15) >= 5 && load16(h + 2) == s->frame_length)
		return ETH_IPV4;
	return h[0] >> 4 == 6 && load16(h + 4) + 40 == s->frame_length ? ETH_IPV6 : 0;
}

static __always_inline u32 other_counter(struct scratch *s)
{
	u16 type = IN_MEMORY(s->open_type);

	return type == ETH_MACSEC ? SNF_C_macsec_unread : type == ETH_PBB ? SNF_C_pbb_unread : SNF_C_not_ip;
}

/* Is one end of the tunnel a subscriber? Then it is his own. */
static __always_inline u32 is_subscribers(struct scratch *s, struct control *c, u32 instance)
{
	s->inner = s->outer;
	s->session_buckets = c->buckets;
	return session_of_ue(s, instance, s->inner.src) || session_of_ue(s, instance, s->inner.dst);
}

/* Read the frame, or the rest of it, as one of the role of its port: a packet at s->start of ethertype *type*. */
static __always_inline void read_on(hook *ctx, struct scratch *s, u16 type)
{
	s->start_type = type;
	next_program.call(ctx, NEXT_ROLE + (s->role & 3));
	s->start_type = 0; /* it is not loaded */
}

static __always_inline void count_reason(struct port_stats *st, u64 counter)
{
	asm volatile("" : "+r"(counter)); /* compared and used in one register, for the verifier's sake */
	if (counter < SNF_C_MAX)
		st->n[counter]++;
}

static __always_inline int leave_unread(hook *ctx, struct frame *in, u32 counter)
{
	count_reason(in->st, counter);
	return decide(ctx, in, 0);
}

/* A frame whose ethertype is not read. */
static __always_inline int through_link(hook *ctx, struct frame *in, void *data, void *end)
{
	struct scratch *s = in->s;
	u32 was = s->why, result;
	u16 type;

	if (was == SNF_C_vlan_too_deep && !(s->opens & SNF_OPEN_TAGS))
		return leave_unread(ctx, in, was);
	s->off = 0;
	s->open = OPEN_ETHERNET;
	result = look_through(data, end, s);
	if (result == THROUGH_IP) {
		in->st->n[SNF_C_looked_through]++;
		s->start = s->off;
		read_on(ctx, s, s->open_type);
	}
	if (result == THROUGH_NOT_IP && s->off == ETH_BYTES && s->open_type != ETH_PPPOE &&
	    s->opens & SNF_OPEN_RAW_IP) {
		type = bare_type(data, end, s);
		if (type) {
			in->st->n[SNF_C_looked_through]++;
			s->start = 0;
			read_on(ctx, s, type);
		}
	}
	return leave_unread(ctx, in,
			    result == THROUGH_NOT_IP ? other_counter(s)
			    : result == THROUGH_CUT  ? SNF_C_l2_truncated
						     : s->why);
}

/* A tunnel between other ends than those of N3, whose outer packet begins at s->start. */
static __always_inline int through_tunnel(hook *ctx, struct frame *in, void *data, void *end)
{
	struct scratch *s = in->s;
	u32 result;

	s->why = SNF_C_MAX;
	if (s->role == SNF_N3 || !is_subscribers(s, in->c, in->p->instance)) {
		s->why = s->open == OPEN_VXLAN ? SNF_C_vxlan_unread : SNF_C_gre_unread;
		result = look_through(data, end, s);
		if (result == THROUGH_IP || result == THROUGH_NOT_IP) {
			if (s->outer.fragment == FRAGMENT_FIRST)
				tunnel_fragment(s, 1);
			if (result == THROUGH_NOT_IP)
				return leave_unread(ctx, in, other_counter(s));
			in->st->n[SNF_C_looked_through]++;
			s->start = s->off;
			read_on(ctx, s, s->open_type);
			return leave_unread(ctx, in, SNF_C_MAX);
		}
	}
	count_reason(in->st, s->why);
	s->closed = 1;
	read_on(ctx, s, s->outer.ipv6 ? ETH_IPV6 : ETH_IPV4);
	return leave_unread(ctx, in, SNF_C_MAX);
}

/* A T-PDU that is no IP packet: an Ethernet frame, when one that holds an IP packet fits (TS 23.501, 5.6.10.2). */
static __always_inline int through_frame(hook *ctx, struct frame *in, void *data, void *end)
{
	struct scratch *s = in->s;
	u32 was = s->why;

	s->off = s->inner_off;
	s->open = OPEN_ETHERNET;
	if (look_through(data, end, s) != THROUGH_IP || s->off >= s->gtpu_end ||
	    parse_ip(data, end, s, &s->inner, s->open_type, s->gtpu_end) || s->inner.end > s->gtpu_end)
		return leave_unread(ctx, in, was);
	if (!(s->opens & SNF_OPEN_ETHERNET))
		return leave_unread(ctx, in, SNF_C_ethernet_unread);
	in->st->n[SNF_C_looked_through]++;
	read_on(ctx, s, START_INNER);
	return leave_unread(ctx, in, SNF_C_MAX);
}

/* Entered by tail call with what is not read: its counter in s->why, or a tunnel at s->off. */
int snf_outer(hook *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct frame in;

	if (!enter(ctx, &in, ASKS_CONTROL))
		return HOOK_PASS;
	in.s->opens = in.p->opens;
	if (in.s->why == WHY_TUNNEL)
		return through_tunnel(ctx, &in, data, end);
	if (in.s->why == SNF_C_not_ip || in.s->why == SNF_C_vlan_too_deep)
		return through_link(ctx, &in, data, end);
	return through_frame(ctx, &in, data, end);
}

/* On a port whose packets have no Ethernet header. */
int snf_bare(hook *ctx)
{
	void *data, *end;
	struct frame in;
	u16 type;
	u8 *h;

	make_linear(ctx);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	h = data;
	if (!enter(ctx, &in, ASKS_CONTROL) || in.p->ifindex != PORT_OF(ctx))
		return HOOK_PASS;
	begin_frame(ctx, in.s, in.c, in.st);
	in.s->role = in.p->role;
	in.s->slot = in.p->slot;
	in.s->start = 0;
	if ((void *)h + 1 > end)
		return leave_unread(ctx, &in, SNF_C_l2_truncated);
	type = h[0] >> 4 == 4 ? ETH_IPV4 : h[0] >> 4 == 6 ? ETH_IPV6 : 0;
	if (type)
		read_on(ctx, in.s, type);
	return leave_unread(ctx, &in, SNF_C_not_ip);
}

#endif
