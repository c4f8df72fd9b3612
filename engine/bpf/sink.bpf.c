/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* For measurements: the host that packets are sent to. Counts each and drops it, before a buffer is made. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* 1 element. Writer: the program. Reader: frames.rs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

SEC("xdp.frags")
int sink(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *packets = bpf_map_lookup_elem(&arrived, &zero);

	(void)ctx;
	if (packets)
		*packets += 1;
	return XDP_DROP;
}
