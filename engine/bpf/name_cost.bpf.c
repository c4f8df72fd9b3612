/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* For measurements: what reading a name and asking the filter costs. Run over one frame again and again; each run
 * writes another name into it first, so that the filter's memory is as cold as it is under real names. Reader and
 * tables are those of the gateway. It attaches to nothing.
 */
#include <linux/bpf.h>

typedef struct __sk_buff context;

#include "names.h"

#include "name_cost.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* 1 element. Writer: name_cost.rs, and the program its counts and what it has drawn. */
struct {
	ARRAY_OF(struct name_draw, 1);
} name_draw SEC(".maps");

#define NAME_DRAW_MAX 80

SEC("tc")
int name_cost(struct __sk_buff *skb)
{
	struct name_draw *draw;
	__u32 zero = 0, length;
	__u64 random = 0;

	draw = bpf_map_lookup_elem(&name_draw, &zero);
	if (!draw)
		return 0;
	length = draw->name_length;
	if (length < 1 || length > NAME_DRAW_MAX)
		return 0;
	for (__u32 i = 0; i < NAME_DRAW_MAX; i++) {
		if (!(i & 7)) {
			draw->seed += 0x9e3779b97f4a7c15ull;
			random = v6_mix(draw->seed);
		}
		draw->drawn[i] = draw->text[i] == '?' ? 'a' + ((random & 0xff) * 26 >> 8) : draw->text[i];
		random >>= 8;
	}
	if (bpf_skb_store_bytes(skb, draw->name_at, draw->drawn, length, 0))
		return 0;
	if (!draw->read)
		return 0;
	if (read_name(skb, draw->payload_at, draw->payload_length, draw->is_dns, 0) == NAME_CLEAN)
		draw->clean++;
	else
		draw->other++;
	return 0;
}
