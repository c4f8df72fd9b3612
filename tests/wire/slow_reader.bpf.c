/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A reader that dawdles: the epoch once, one address of the base, a pause, another address. The two addresses stand
 * together in every list or in none, so answers that differ come from a mixed table. The pause makes likely what a real
 * packet meets once in years. It stands in for clearway_tcx, with the same maps and the same lookup.
 * Outcome of a probe: verdict = first answer, drop_reason = second answer, epoch.
 */
#include <linux/bpf.h>

typedef struct __sk_buff context;

#include "verdict.h"

#define FIRST_ADDRESS 0xc6336401  /* 198.51.100.1 */
#define SECOND_ADDRESS 0xcb007101 /* 203.0.113.1 */
#define PAUSE_NS 300000

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline struct frame frame_of(context *skb)
{
	return (struct frame){.data = (void *)(long)skb->data, .end = (void *)(long)skb->data_end, .length = skb->len};
}

static long dawdle(__u64 turn, __u64 *end_ns)
{
	return bpf_ktime_get_ns() >= *end_ns;
}

SEC("tc")
int clearway_tcx(struct __sk_buff *skb)
{
	struct decision d = {};
	__u32 nonce = 0, first, second;
	__u64 end_ns;

	begin(&d, &nonce);
	first = base_v4(d.epoch & 1, FIRST_ADDRESS);
	end_ns = bpf_ktime_get_ns() + PAUSE_NS;
	bpf_loop(1 << 20, dawdle, &end_ns, 0);
	second = base_v4(d.epoch & 1, SECOND_ADDRESS);
	skb->cb[0] = first;
	skb->cb[1] = second;
	skb->cb[2] = 0;
	skb->cb[3] = d.epoch;
	skb->cb[4] = 0;
	return 0;
}
