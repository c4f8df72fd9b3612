/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TCX ingress of the two TAPs: what the inspector writes back leaves at the port that it was on its way to, whole, with
 * the offload metadata of its vnet header. It is counted as forwarded here, not when it was held. Answers to a client
 * come the same way; the inspector counts those, and they are taken out again (Tables::counters).
 */
#include <linux/bpf.h>

typedef struct __sk_buff context;

#include "verdict.h"

/* linux/bpf.h of Debian 12 does not have it yet */
#define TCX_DROP 2

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline struct frame frame_of(context *skb)
{
	return (struct frame){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.length = skb->len,
		.super = skb->gso_size != 0,
	};
}

/* Wire packets of this buffer. A vnet header carries their size and no count. */
static __always_inline __u32 segments_of(context *skb, const struct frame *f)
{
	struct packet p = {};
	__u32 payload;
	__u8 *octet;

	if (!skb->gso_size || parse(skb, f, &p) != STEP_DONE)
		return 1;
	payload = p.limit - p.at;
	if (p.protocol == IPPROTO_TCP) {
		octet = header_at(f, p.at, 20);
		if (octet)
			payload -= (octet[12] >> 4) * 4;
	} else {
		payload -= 8;
	}
	return (payload + skb->gso_size - 1) / skb->gso_size;
}

SEC("tc")
int clearway_hold(struct __sk_buff *skb)
{
	struct frame f = frame_of(skb);
	struct hold_control *hold;
	__u32 zero = 0, direction;

	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!hold)
		return TCX_DROP;
	direction = skb->ifindex == hold->tap_ifindex[DIRECTION_OUTBOUND] ? DIRECTION_OUTBOUND : DIRECTION_INBOUND;
	count(&counters, (LANE_INSPECTED * DIRECTIONS + direction) * DROP_REASONS_MAX + DROP_FORWARDED,
	      segments_of(skb, &f), f.length);
	return bpf_redirect(direction == DIRECTION_OUTBOUND ? settings.outside_ifindex : settings.inside_ifindex, 0);
}
