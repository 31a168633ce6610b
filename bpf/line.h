/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Lines of a fixed network: VLAN tags and the PPPoE session say whose a frame is, and the address of a gateway (BNG)
 * which way it goes. To all that follows a line is a tunnel: TEID and receiver are made of these (struct line_end). */
#ifndef SNF_LINE_H
#define SNF_LINE_H

#include "frame.h"
#include "parse.h"

static __always_inline u64 mac(const u8 *h)
{
	return (u64)load16(h) << 32 | load32(h + 2);
}

/* The receiver at the end of a line: of the uplink its gateway. */
static __always_inline void line_end(u8 *address, u64 gateway, u32 s_vlan, u32 way)
{
	u16 *w = (u16 *)address;

	w[0] = bpf_htons(LINE_PREFIX);
	w[1] = w[2] = w[3] = 0;
	w[4] = bpf_htons(s_vlan | (way == SNF_DOWNLINK ? LINE_DOWNLINK : 0));
	w[5] = bpf_htons(gateway >> 32);
	w[6] = bpf_htons(gateway >> 16);
	w[7] = bpf_htons(gateway);
}

/* The tags of the frame, and the number of the PPPoE session. Returns where its packet begins, 0 if elsewhere. */
static __always_inline u32 read_tags(void *data, void *end, u32 *s_vlan, u32 *c_vlan, u32 *session)
{
	u32 off = 14;
	u16 type;
	u64 i;

	if (data + 14 > end)
		return 0;
	type = load16(data + 12);
#pragma unroll
	for (i = 0; i < MAX_VLANS; i++) {
		if (type != ETH_8021Q && type != ETH_8021AD && type != ETH_QINQ)
			break;
		if (data + 18 + 4 * i > end)
			return 0;
		*s_vlan = *c_vlan; /* of more than two the inner ones: a mirror may have put its own before them */
		*c_vlan = load16(data + 14 + 4 * i) & LINE_VLAN;
		type = load16(data + 16 + 4 * i);
		off = 18 + 4 * i;
	}
	if (type != ETH_PPPOE)
		return off;
	if (data + off + 8 > end)
		return 0;
	*session = load16(data + off + 2);
	return off + 8;
}

/* Where a frame comes from a gateway of lines or goes to one, its line is the tunnel that its packet is in. */
static __always_inline void read_line(void *data, void *end, struct scratch *s)
{
	u32 s_vlan = 0, c_vlan = 0, session = 0, way = SNF_UPLINK, start;
	u64 to, from, *gateway;

	if (data + 14 > end)
		return;
	to = mac(data);
	from = mac(data + 6);
	gateway = gateways.lookup(&to);
	if (!gateway) {
		gateway = gateways.lookup(&from);
		way = SNF_DOWNLINK;
	}
	if (!gateway)
		return;
	start = read_tags(data, end, &s_vlan, &c_vlan, &session);
	if (!start || start != s->start)
		return; /* a mirror put something around the frame: its own addresses are another's */
	if (s_vlan | c_vlan && !(*gateway >> LINE_GATEWAY_BITS & LINE_BY_SESSION))
		session = 0;
	if (!(s_vlan | c_vlan | session))
		return;
	s->gtpu = IN_LINE;
	s->side = way;
	s->teid = c_vlan << LINE_SESSION_BITS | session;
	s->inner_off = s->start;
	s->outer.ipv6 = 1;
	line_end(s->outer.dst, *gateway, s_vlan, way);
	line_end(s->outer.src, *gateway, s_vlan, !way);
}

#endif
