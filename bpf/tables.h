/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Lookups in base, overlay and grants. They only look; policy/evaluate.py is the slow reference they are held to. */
#pragma once

#include "maps.h"

/* Splitmix64's finalizer (public domain, Vigna 2015) over both words and the length; wraps modulo 2^64.
 * The same in engine/src/tables.rs and policy/compile.py, held together by a test. */
static __always_inline __u64 v6_mix(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static __always_inline __u64 v6_hash(__u64 seed, __u64 high, __u64 low, __u32 length)
{
	return v6_mix(v6_mix(high ^ seed) + low + length);
}

/* Bit of a /48 in a filter of `words` 64-bit words behind the short part; unkeyed: a false hit only costs a lookup. */
static __always_inline __u32 v6_long_bit(__u64 high, __u32 words)
{
	return v6_mix(high >> 16) & (words * 64 - 1);
}
