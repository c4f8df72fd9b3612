/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* XDP on physical ports: the same verdict before a buffer is made. Where the driver was tried it forwards port to port
 * (settings.xdp_forward); elsewhere it only drops, and what passes is decided, counted and sent on by tcx.bpf.c.
 */
#include <linux/bpf.h>

typedef struct xdp_md context;

#include "verdict.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* 0: port for outbound packets, 1: for inbound ones (enum direction). Writer: loader. Made anew at every load. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, DIRECTIONS);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* What is read of the kernel's own buffer; its place there comes from the running kernel's BTF. */
struct xdp_buff {
	__u32 flags;
} __attribute__((preserve_access_index));

/* XDP_FLAGS_HAS_FRAGS in net/xdp.h */
#define HAS_FRAGMENTS 1

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/* The helper is asked only of a frame in several buffers: its call costs 5 ns of 50. */
static __always_inline __u32 length_of(context *ctx)
{
	struct xdp_buff *buff = bpf_cast_to_kern_ctx(ctx);

	return buff->flags & HAS_FRAGMENTS ? bpf_xdp_get_buff_len(ctx) : ctx->data_end - ctx->data;
}

static __always_inline struct frame frame_of(context *ctx)
{
	return (struct frame){
		.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.length = length_of(ctx),
	};
}

/* In front of a probe's frame, as XDP metadata; the outcome is written over it. */
struct probe_metadata {
	__u32 nonce;
	__u32 direction;
	__u32 unused[4];
};

static __always_inline struct probe_metadata *probe_of(struct xdp_md *ctx, __u32 nonce)
{
	struct probe_metadata *probe = (void *)(long)ctx->data_meta;

	if (!nonce || (void *)(probe + 1) > (void *)(long)ctx->data || probe->nonce != nonce)
		return NULL;
	return probe;
}

static __always_inline void answer_probe(struct xdp_md *ctx, __u32 nonce, const struct packet *p,
					 const struct decision *d)
{
	struct probe_outcome *outcome = (void *)probe_of(ctx, nonce);

	if (!outcome)
		return;
	outcome->verdict = d->verdict;
	outcome->drop_reason = told_reason(d);
	outcome->lane = d->lane;
	outcome->epoch = d->epoch;
	outcome->facts = p->facts;
}

/* Names are read by tcx.bpf.c. */
static __always_inline bool may_have_name(const struct packet *p, const struct decision *d)
{
	return d->names_active && d->lane == LANE_INSPECTED &&
	       (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP);
}

SEC("xdp.frags")
int clearway_xdp(struct xdp_md *ctx)
{
	struct decision d = {};
	struct packet p = {};
	struct probe_metadata *probe;
	__u32 nonce = 0;
	bool bypassed = begin(&d, &nonce);
	int parsed = STEP_DONE;
	struct frame f = frame_of(ctx);

	d.direction = ctx->ingress_ifindex == settings.inside_ifindex ? DIRECTION_OUTBOUND : DIRECTION_INBOUND;
	probe = probe_of(ctx, nonce);
	if (probe) {
		d.probe = 1;
		d.direction = probe->direction ? DIRECTION_INBOUND : DIRECTION_OUTBOUND;
	}
	if (!bypassed)
		parsed = parse(ctx, &f, &p);
	if (parsed == STEP_OUT_OF_REACH)
		p.facts |= FACT_BIT(FACT_OPAQUE);
	judge(&p, &d, parsed, bypassed);
	if (d.verdict == VERDICT_FORWARD && !d.probe && (!settings.xdp_forward || may_have_name(&p, &d)))
		return XDP_PASS;
	record(&p, &f, &d, 1);
	if (d.probe)
		answer_probe(ctx, nonce, &p, &d);
	if (d.verdict == VERDICT_DROP)
		return XDP_DROP;
	return settings.xdp_forward ? bpf_redirect_map(&ports, d.direction, XDP_ABORTED) : XDP_PASS;
}
