/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What generator.bpf.c and frames.rs share. */
#pragma once

#include <linux/types.h>

/* The generator's only constant. */
struct draw {
	__u64 seed;
	__u32 pairs; /* elements in use; 1: no index is drawn */
	__u32 source;
	__u32 destination;
	__u32 unused;
};

/* An address and a mask in host order; the bits that the mask leaves out are drawn. 0: any address. */
struct pair {
	__u32 address;
	__u32 mask;
};
