/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The details of media flows: written by the packet path (media.h), mapped into user space, which reads what moved once
 * an interval. Times are the low half of a clock in microseconds; 0 where a time says that nothing is there. Sums are
 * since the detail began, and differences wrap with them. Up and down are as seen from the UE, and an index [2] of
 * directions is by enum snf_side. */
#ifndef SNF_ABI_DETAILS_H
#define SNF_ABI_DETAILS_H

#define SLOT_US		100000 /* of struct detail: length of a slot, */
#define SLOT_UNIT_SHIFT 7      /* and the unit of its bytes, 128 */

#define FRAME_GAP_CUT_US 1000000 /* a longer distance of frames is silence and no jitter */

#define REQUEST_LEAST 300 /* bytes; an uplink payload of more is a request (Requet, 3.2), one of fewer may be */

/* Places of details, one line; the detail of a flow is in the map `details`, at SNF_DETAILS times the set and its place
 * here (detail_table.h). */
#define SNF_DETAILS 7
struct detail_set {
	__u64 numbers[SNF_DETAILS]; /* of the flows; 0: nobody's */
	__u8 moved[SNF_DETAILS];    /* low byte of the epoch in which the flow last had a packet */
	__u8 busy;		    /* 1: a CPU gives a place to a flow */
};
_Static_assert(sizeof(struct detail_set) == 64, "detail_set is a cache line");

/* Requests and the answer that is coming (chunks.h). */
struct chunk_state {
	__u32 request_us;    /* of the request, the last one before the answer; 0: none yet */
	__u32 unanswered_us; /* the first of the requests that waited together; 0: the one at request_us is answered */
	__u32 waiting_us;    /* the first request since which nothing was answered; 0: nothing waits */
	__u32 first_us;	     /* first and last packet of the answer; 0: none yet */
	__u32 last_us;
	__u32 bytes;
	__u32 packets;
	__u32 gap_max_us; /* between two packets of the answer */
	__u16 requests;	  /* before the answer; 65535 at most */
	__u16 length;	  /* of the largest of them */
	__u32 closed;	  /* chunks that were told, or found the ring full */
};
_Static_assert(sizeof(struct chunk_state) == 40, "chunk_state is ABI");

/* Video frames by one rule, once they ended (frames.h, video.h). */
struct frames {
	__u32 n;
	__u32 end_us; /* of the last one */
	__u32 open;   /* bytes of the one that is open */
	__u32 octets;
	__u32 gap_ticks; /* distances of their ends, each cut at FRAME_GAP_CUT_US, in SNF_GAP_TICK_US */
	__u32 gap_ticks2;
};
_Static_assert(sizeof(struct frames) == 24, "frames is ABI");

/* Gaps between payload packets of one direction (ticks.h). */
struct ticks {
	__u32 us; /* running median */
	__u32 n;  /* gaps within a quarter of it, and their sum */
	__u32 sum_us;
	__u32 spikes; /* gaps far above it */
	__u32 spike_ms;
};
_Static_assert(sizeof(struct ticks) == 20, "ticks is ABI");

/* Packets that came back, by the direction of what is sent (ticks.h). */
struct echoes {
	__u32 last;  /* mark of the first bytes of the packet before, */
	__u32 probe; /* and of the one whose echo is awaited, */
	__u32 probe_us;
	__u16 probe_length; /* of its payload, */
	__u16 echo_length;  /* and of the one whose echo came last, of either direction; 0: none came */
	__u32 spare;
	__u32 n;
	__u32 sum_us;
	__u32 min_us; /* of this epoch; 0: none */
};
_Static_assert(sizeof(struct echoes) == 32, "echoes is ABI");

/* A source of one direction (rtp_way.h). */
struct rtp_way {
	__u32 ssrc;
	__u32 stamp; /* of the last packet, */
	__u32 at_us; /* and when it came */
	__u32 jitter_q4;
	__u32 base_stamp; /* since when the clock rate is learned */
	__u32 base_us;
	__u32 markers;
	__u32 runs; /* of missing packets */
	__u16 max_seq;
	__u16 gap_seq;	/* first number of the last run, */
	__u8 gap;	/* its length, 255 at most, */
	__u8 gap_left;	/* and what of it still is missing */
	__u8 pt;	/* payload type of the last packet, */
	__u8 clock_khz; /* its rate, 0: unknown, */
	__u8 next_khz;	/* and the one that may follow */
	__u8 pad[3];
};
_Static_assert(sizeof(struct rtp_way) == 44, "rtp_way is ABI");

enum video_flags { VIDEO_SEEN = 1, VIDEO_OPEN = 2, VIDEO_BROKEN = 4, VIDEO_FROZEN = 8 };

/* The source of the picture that comes down (video.h). */
struct video {
	struct frames frames;
	__u32 ssrc; /* 0: none yet */
	__u32 stamp;
	__u32 at_us;	/* its last packet */
	__u32 mean;	/* bytes of a frame */
	__u32 gap_us;	/* mean distance of frames */
	__u32 since_us; /* with VIDEO_FROZEN: when that began, */
	__u32 until_us; /* and up to when it is in frozen_us */
	__u32 frozen_us;
	__u32 incomplete; /* frames that lacked a packet when they ended */
	__u32 keyframes;
	__u16 max_seq;
	__u16 missing; /* packets that may still come */
	__u8 others;   /* packets of other sources of this size in a row */
	__u8 flags;    /* bits of enum video_flags; VIDEO_BROKEN: the open frame lacks a packet */
	__u16 pad;
};
_Static_assert(sizeof(struct video) == 72, "video is ABI");

/* Reports of a receiver about the stream of one direction, which come the other way (rtcp.h). */
struct rtcp_reports {
	__u32 ssrc;
	__u32 last;	  /* extended highest sequence number, */
	__u32 cumulative; /* and packets lost, of the last report */
	__u32 n;
	__u32 expected;
	__u32 lost;
	__u32 jitter_us;
	__u32 rtt_us;	 /* from here to the receiver and back, by the last report that tells; 0: none did */
	__u32 sender;	 /* middle bits of the time stamp of the stream's last sender report, */
	__u32 sender_us; /* and when it passed */
};
_Static_assert(sizeof(struct rtcp_reports) == 40, "rtcp_reports is ABI");

/* Windows of TCP that one direction announces (windows.h). */
struct window {
	__u16 most; /* the largest one, as it is in the header */
	__u8 scale; /* the least shift by which windows hold what is under way */
	__u8 pad;
	__u32 closed; /* segments whose window holds up the sender */
};
_Static_assert(sizeof(struct window) == 8, "window is ABI");

enum detail_flags {
	DETAIL_LATE = 1, /* it began long after the flow */
	DETAIL_CALL = 2, /* of `more` rtp holds, else echoes */
};

struct detail {
	/* first line: every packet */
	__u32 down_sizes[6]; /* packets by payload length: below 128, 306, 700, 1100, 1350 bytes, and above */
	__u32 up_sizes[4];   /* below 100, 300, 700 bytes, and above */
	__u32 payload_us[2]; /* last packet with a payload */
	__u32 slot;	     /* number of the newest slot of 100 ms: clock in microseconds / 100000 */
	__u16 peak;	     /* of this epoch: the fullest slot before the newest, in 128 bytes */
	__u16 busy;	     /* of this epoch: slots with a downlink packet */
	__u16 epoch;
	__u8 flags; /* bits of enum detail_flags */
	__u8 pad;
	__u32 begun_us; /* when it was begun with zeros: at another time it is another one, even of the same flow */
	/* second line: what comes down, requests */
	__u16 slots[12]; /* downlink bytes / 128 of the last slots, by slot number modulo 12 */
	struct chunk_state chunk;
	/* then what is timed exactly, over UDP */
	struct ticks ticks[2];
	struct frames equal;  /* by equal lengths, */
	struct frames filled; /* and by packets that are full but for the last one */
	__u32 packet_us;      /* last packet of video */
	__u32 frame_gap_us;   /* mean distance of equal frames */
	__u32 frozen_ms;      /* sum of the distances that were far above it */
	__u32 run_us;	      /* median distance of packets of one filled frame */
	__u16 last_length[2]; /* of the last packets of video */
	__u16 full;	      /* length of a packet that is full */
	__u8 was_full;	      /* 1: the last one was */
	__u8 usual_sure;      /* how many full packets more than others were of the usual length, 15 at most */
	__u32 equal_octets;   /* mean bytes of equal frames */
	__u32 filled_gap_us;  /* mean distance of filled frames */
	__u16 equal_pause;  /* in SNF_GAP_TICK_US: the open frame is over when so long nothing came; 0: never by that */
	__u16 filled_pause; /* likewise */
	__u16 usual;	    /* length of most full packets */
	__u8 together;	    /* packets of the equal frame that is open, 255 at most */
	__u8 sound;	    /* running median of the lengths of small packets; 0: none came yet */
	/* the last lines */
	union {
		struct echoes echo[2];
		struct {
			struct rtp_way way[2];
			struct video video;
			struct rtcp_reports reports[2];
		} rtp;
	} more;
	struct window windows[2];
};
_Static_assert(sizeof(struct detail) == 512, "detail is eight cache lines");

#endif
