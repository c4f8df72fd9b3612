/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* For measurements: run over one frame again and again as XDP live frames, sends each copy out of the port it is said
 * to have come in at, with IPv4 addresses drawn anew. It must stay cheaper than whatever it is sent at: no helper, one
 * map lookup an address. Frames come back from the kernel's pool as the last run left them, so nothing is mended
 * incrementally.
 */
#include <linux/bpf.h>

#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "generator.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile struct draw draw;

/* Addresses are drawn from these. Writer: frames.rs, before the first run. Sized at load. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pair);
} pairs SEC(".maps");

/* Random numbers drawn so far. One core runs this program at a time. */
static __u64 drawn;

/* Splitmix64 (public domain, Vigna 2015). */
static __always_inline __u64 next_random(void)
{
	__u64 x = draw.seed + ++drawn * 0x9e3779b97f4a7c15ull;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static __always_inline __be32 next_address(void)
{
	__u64 random = next_random();
	__u32 index = draw.pairs > 1 ? (random >> 32) * draw.pairs >> 32 : 0;
	struct pair *pair = bpf_map_lookup_elem(&pairs, &index);

	if (!pair)
		return 0;
	return bpf_htonl((pair->address & pair->mask) | ((__u32)random & ~pair->mask));
}

SEC("xdp")
int generator(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);
	__u32 *word = (void *)ip;
	__u64 sum;

	if ((void *)(ip + 1) > end)
		return XDP_ABORTED;
	if (draw.source)
		ip->saddr = next_address();
	if (draw.destination)
		ip->daddr = next_address();
	if (draw.source || draw.destination) {
		ip->check = 0;
		sum = (__u64)word[0] + word[1] + word[2] + word[3] + word[4];
		sum = (sum & 0xffffffff) + (sum >> 32);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		sum = (sum & 0xffff) + (sum >> 16);
		ip->check = ~sum;
	}
	return XDP_TX;
}
