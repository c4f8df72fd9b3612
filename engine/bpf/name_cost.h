/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What name_cost.bpf.c and name_cost.rs share. */
#pragma once

#include <linux/types.h>

/* What is drawn, and what came of it. */
struct name_draw {
	__u64 seed;
	__u64 clean; /* names that the filter did not know */
	__u64 other; /* anything else that the reader said */
	__u32 name_at;
	__u32 name_length;
	__u32 payload_at;
	__u32 payload_length;
	__u32 is_dns;
	__u32 read;	/* 0: only drawn, to be taken off */
	__u8 text[128]; /* the name as it stands in the frame; '?' becomes a letter */
	__u8 drawn[128];
};
