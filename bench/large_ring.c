/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* pcap_open_live with a capture ring of 64 MB instead of 2 MB, to be loaded before libpcap (LD_PRELOAD).
 *
 * ndpiReader has no option for it. With 2 MB it loses half of the packets that come in bursts, and is compared
 * unfairly. */
#include <stdio.h>

typedef struct pcap pcap_t;

pcap_t *pcap_create(const char *device, char *error);
int pcap_set_snaplen(pcap_t *, int);
int pcap_set_promisc(pcap_t *, int);
int pcap_set_timeout(pcap_t *, int);
int pcap_set_buffer_size(pcap_t *, int);
int pcap_activate(pcap_t *);
char *pcap_geterr(pcap_t *);
void pcap_close(pcap_t *);

#define RING_BYTES  (64 << 20)
#define ERROR_BYTES 256 /* PCAP_ERRBUF_SIZE, pcap(3PCAP) */

pcap_t *pcap_open_live(const char *device, int snaplen, int promisc, int timeout_ms, char *error)
{
	pcap_t *pcap = pcap_create(device, error);

	if (!pcap)
		return NULL;
	pcap_set_snaplen(pcap, snaplen);
	pcap_set_promisc(pcap, promisc);
	pcap_set_timeout(pcap, timeout_ms);
	pcap_set_buffer_size(pcap, RING_BYTES);
	if (pcap_activate(pcap) < 0) { /* above zero: a warning */
		snprintf(error, ERROR_BYTES, "%s: %s", device, pcap_geterr(pcap));
		pcap_close(pcap);
		return NULL;
	}
	fprintf(stderr, "large_ring: %d bytes\n", RING_BYTES);
	return pcap;
}
