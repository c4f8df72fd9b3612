/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TCX ingress of both ports: parse → decide → record → act. Super-packets (GSO, GRO) cross whole, with their offload
 * metadata; a stripped VLAN tag stays in the buffer's metadata and is put back on the way out. Nothing is ever passed
 * to the host's own stack, so the ports answer nothing.
 */
#include <linux/bpf.h>

typedef struct __sk_buff context;

#include "hold.h"

/* linux/bpf.h of Debian 12 does not have them yet */
#define TCX_DROP 2

/* As much of a frame as is pulled together for headers outside the linear part; what lies further is opaque. */
#define PULL_BYTES_MAX 2048

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline struct frame frame_of(context *skb)
{
	return (struct frame){
		.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.length = skb->len,
		.super = skb->gso_segs > 1,
	};
}

/* A frame whose headers are not all in the linear part is pulled together, once. */
__noinline int parse_pulled(struct __sk_buff *skb, struct packet *p)
{
	struct frame f;
	int parsed;
	__u16 vlan;

	if (!p)
		return STEP_OUT_OF_REACH;
	bpf_skb_pull_data(skb, skb->len < PULL_BYTES_MAX ? skb->len : PULL_BYTES_MAX);
	vlan = p->vlan;
	__builtin_memset(p, 0, sizeof(*p));
	p->vlan = vlan;
	f = frame_of(skb);
	parsed = parse(skb, &f, p);
	if (parsed == STEP_OUT_OF_REACH)
		p->facts |= FACT_BIT(FACT_OPAQUE);
	return parsed;
}

static __always_inline int parse_skb(struct __sk_buff *skb, const struct frame *f, struct packet *p)
{
	int parsed;

	if (skb->vlan_present)
		p->vlan = skb->vlan_tci & 0x0fff;
	parsed = parse(skb, f, p);
	return parsed == STEP_OUT_OF_REACH ? parse_pulled(skb, p) : parsed;
}

static __always_inline void answer_probe(struct __sk_buff *skb, const struct packet *p, const struct decision *d)
{
	skb->cb[0] = d->verdict;
	skb->cb[1] = told_reason(d);
	skb->cb[2] = d->lane;
	skb->cb[3] = d->epoch;
	skb->cb[4] = p->facts;
}

SEC("tc")
int clearway_tcx(struct __sk_buff *skb)
{
	struct decision d = {};
	struct packet p = {};
	struct frame f = frame_of(skb);
	__u32 nonce = 0, segments;
	bool bypassed = begin(&d, &nonce);
	int parsed = STEP_DONE;

	d.direction = skb->ifindex == settings.inside_ifindex ? DIRECTION_OUTBOUND : DIRECTION_INBOUND;
	d.probe = nonce && skb->mark == nonce;
	if (d.probe)
		d.direction = skb->cb[0] ? DIRECTION_INBOUND : DIRECTION_OUTBOUND;
	if (!bypassed)
		parsed = parse_skb(skb, &f, &p);
	if (f.super)
		p.facts |= FACT_BIT(FACT_SUPER_PACKET);
	judge(&p, &d, parsed, bypassed);
	name_rule(skb, &p, &d);
	segments = f.super ? skb->gso_segs : 1;
	record(&p, &f, &d, segments);
	if (d.probe)
		answer_probe(skb, &p, &d);
	if (d.verdict == VERDICT_DROP)
		return TCX_DROP;
	if (d.hold_ifindex)
		return bpf_redirect(d.hold_ifindex, 0);
	return bpf_redirect(d.direction == DIRECTION_OUTBOUND ? settings.outside_ifindex : settings.inside_ifindex, 0);
}
