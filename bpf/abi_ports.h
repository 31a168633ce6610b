/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Attached interfaces: written by nf/kernel/ports.py and nf/kernel/redirects.py, read on every packet. */
#ifndef SNF_ABI_PORTS_H
#define SNF_ABI_PORTS_H

#define SNF_PORTS	 1024	   /* slots of the port table, by interface index modulo this */
#define SNF_STATS	 16	   /* ports that can be attached at once */
#define SNF_MONITOR_PORT SNF_STATS /* index of the monitor port in the device map */

enum snf_role {
	SNF_N3 = 1,
	SNF_N6 = 2,
	SNF_ANY = 3,
	SNF_MIXED = 4 /* N3, N6 and signalling on one port: each packet is of N3 or of N6 by what it is */
};
enum snf_mode { SNF_MIRROR = 0, SNF_LOCAL = 1, SNF_INLINE = 2 };
enum snf_monitor { SNF_MONITOR_SEND = 1, SNF_MONITOR_INNER = 2 /* without the tunnel */ };
enum snf_encapsulation {
	SNF_OPEN_TAGS = 1, /* more than three VLAN tags */
	SNF_OPEN_SGT = 2,
	SNF_OPEN_MPLS = 4,
	SNF_OPEN_VXLAN = 8,
	SNF_OPEN_GRE = 16,
	SNF_OPEN_ERSPAN = 32,
	SNF_OPEN_ETHERNET = 64, /* an Ethernet frame in GTP-U: a PDU session of this type */
	SNF_OPEN_RAW_IP = 128	/* no Ethernet header */
};

/* One attached interface. Written by user space at attach; index: interface index modulo SNF_PORTS. */
struct port {
	__u32 ifindex;	/* 0: slot is free; any other value than the packet's is a stranger's */
	__u32 instance; /* network instance of the UE addresses behind an N6 port */
	__u8 slot;	/* index of its counters */
	__u8 mode;	/* enum snf_mode */
	__u8 peer;	/* inline: index of the paired port in the device map */
	__u8 monitor;	/* mirror: bits of enum snf_monitor; 0: there is no monitor port */
	__u8 role;	/* enum snf_role */
	__u8 opens;	/* bits of enum snf_encapsulation: what is looked through */
	__u8 pad[2];
};
_Static_assert(sizeof(struct port) == 16, "port is ABI");

struct port_stats {
	__u64 n[SNF_C_MAX]; /* by enum snf_counter */
};

/* What the programs of loss.h need to know of the running kernel, and a frame that user space sends to try a port. */
struct watch {
	__u32 ifindex_at; /* in struct net_device, bytes; all three by the kernel's BTF */
	__u32 net_at;	  /* in struct net_device: pointer to its struct net */
	__u32 netns_at;	  /* in struct net: number of the namespace */
	__u32 netns;	  /* number of the function's own one */
	__u32 monitor;	  /* interface index of the monitor port, 0: none */
	__u32 target;	  /* index in the device map of the port that is tried */
	__u32 tried;	  /* its interface index; 0: none is tried */
	__u32 taken;	  /* frames that it took */
	__u32 dropped;	  /* frames that it did not take */
	__s32 error;	  /* why, a negative errno; 0: its queue was full */
};
_Static_assert(sizeof(struct watch) == 40, "watch is ABI");

/* Frames of a port that the driver of the other one refused with an error, which a full queue is not. */
struct refusal {
	__u64 frames;
	__s32 error; /* the last one, a negative errno */
	__u32 pad;
};
_Static_assert(sizeof(struct refusal) == 16, "refusal is ABI");

#endif
