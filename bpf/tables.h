/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Lookups in base, overlay and grants. They only look; policy/evaluate.py is the slow reference they are held to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

const volatile struct settings settings;

/* Splitmix64's finalizer (public domain, Vigna 2015) over both words and the length; wraps modulo 2^64.
 * The same in engine/src/v6_bits.rs and policy/compile.py, held together by a test. */
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

/* An address as two words in host order. IPv4 is ::ffff:a.b.c.d, whichever header it stood in. */
struct words {
	__u64 high;
	__u64 low;
};

static __always_inline bool is_v4(struct words a)
{
	return !a.high && a.low >> 32 == 0xffff;
}

static __always_inline bool bit_of(void *map, __u32 word, __u32 bit)
{
	__u64 *w = bpf_map_lookup_elem(map, &word);

	return w && *w >> (bit & 63) & 1;
}

enum filter_hit {
	FILTER_SHORT = 1, /* an entry shorter than /48 may cover it */
	FILTER_LONG = 2,
};

/* `first`: word at which the copy begins; `words`: of the long part. */
static __always_inline __u32 v6_filter(void *map, __u32 first, __u32 words, __u64 high)
{
	__u32 bit = high >> 48, hit = 0;

	if (bit_of(map, first + bit / 64, bit))
		hit = FILTER_SHORT;
	bit = v6_long_bit(high, words);
	if (bit_of(map, first + V6_SHORT_WORDS + bit / 64, bit))
		hit |= FILTER_LONG;
	return hit;
}

/* ---- base ---- */

static __always_inline __u32 set_bits(__u64 word)
{
	return __builtin_popcountll(word);
}

/* word / V4_FRONT_WORDS without dividing; exact for every word of 2^18. */
static __always_inline __u32 front_line_of(__u32 word)
{
	return word * 174763ull >> 20;
}

enum base_answer {
	BASE_NOTHING = 0,
	BASE_LISTED,
	BASE_OBSERVED, /* by lists alone that are only observed */
};

/* May the base hold lists that are only observed? Known at load: without one, none of it is in the program. */
static __always_inline bool any_observed(void)
{
	return settings.observed > 1;
}

static __always_inline bool bit_in(const struct bitmap *bitmap, __u32 address)
{
	return bitmap && bitmap->word[(address >> 6) & 3] >> (address & 63) & 1;
}

static __always_inline enum base_answer base_v4(__u32 copy, __u32 address)
{
	__u32 word = address >> 14, number = front_line_of(word), n = copy * V4_FRONT_LINES + number;
	struct front_line *line = bpf_map_lookup_elem(&base_front, &n);
	__u64 bit = 1ull << (address >> 8 & 63);
	__u32 place;

	word -= number * V4_FRONT_WORDS;
	if (!line || word >= V4_FRONT_WORDS || !(line->present[word] & bit))
		return BASE_NOTHING;
	place = line->rank + line->within[word] + set_bits(line->present[word] & (bit - 1));
	n = copy * settings.bitmaps + place;
	if (!bit_in(bpf_map_lookup_elem(&base_bitmaps, &n), address))
		return BASE_NOTHING;
	if (!any_observed() || place >= settings.observed) /* further than any list that is only observed */
		return BASE_LISTED;
	n = copy * settings.observed + place;
	return bit_in(bpf_map_lookup_elem(&base_observed, &n), address) ? BASE_OBSERVED : BASE_LISTED;
}

static __always_inline __u64 mask_of(__u32 bits)
{
	return bits ? ~0ull << (64 - bits) : 0;
}

static __always_inline struct words masked(struct words a, __u32 length)
{
	if (length <= 64)
		return (struct words){a.high & mask_of(length), 0};
	return (struct words){a.high, a.low & mask_of(length - 64)};
}

enum slot_answer {
	SLOT_ABSENT = 0,
	SLOT_LISTED,
	SLOT_EXCEPTION,
	SLOT_OBSERVED,
};

/* enum slot_answer of one prefix. A global function, as is its caller: the verifier walks their loops once each. */
__noinline int base_v6_slot(__u32 copy, __u64 high, __u64 low, __u32 length)
{
	struct base_meta *meta = bpf_map_lookup_elem(&base_meta, &copy);
	struct v6_bucket *bucket;
	struct v6_slot *slot;
	__u32 n;

	if (!meta)
		return SLOT_ABSENT;
	n = (v6_hash(meta->v6_seed, high, low, length) & meta->v6_bucket_mask) + copy * settings.v6_buckets;
	bucket = bpf_map_lookup_elem(&base_v6_buckets, &n);
	if (!bucket)
		return SLOT_ABSENT;
	for (__u32 i = 0; i < V6_BUCKET_SLOTS_MAX && i < bucket->count; i++) {
		n = bucket->first + i + copy * settings.v6_slots;
		slot = bpf_map_lookup_elem(&base_v6_slots, &n);
		if (!slot)
			return SLOT_ABSENT;
		if (slot->high == high && slot->low == low && slot->length == length)
			return slot->listed == 2 ? SLOT_OBSERVED : slot->listed ? SLOT_LISTED : SLOT_EXCEPTION;
	}
	return SLOT_ABSENT;
}

/* enum base_answer of the longest prefix. Few packets come here. */
__noinline int base_v6(__u32 copy, __u32 hit, __u64 high, __u64 low)
{
	struct base_meta *meta = bpf_map_lookup_elem(&base_meta, &copy);
	struct words a = {high, low}, prefix;
	__u32 length;
	int answer;

	if (!meta)
		return 0;
	for (__u32 i = 0; i < 129 && i < meta->v6_length_count; i++) {
		length = meta->v6_length[i];
		if (!(hit & (length < 48 ? FILTER_SHORT : FILTER_LONG)) || length > 128)
			continue;
		prefix = masked(a, length);
		answer = base_v6_slot(copy, prefix.high, prefix.low, length);
		if (answer)
			return answer == SLOT_LISTED	 ? BASE_LISTED
			       : answer == SLOT_OBSERVED ? BASE_OBSERVED
							 : BASE_NOTHING;
	}
	return BASE_NOTHING;
}

static __always_inline enum base_answer base_says(__u32 copy, struct words a)
{
	__u32 hit;

	if (is_v4(a))
		return base_v4(copy, a.low);
	hit = v6_filter(&base_v6_filter, copy * (V6_SHORT_WORDS + V6_BASE_LONG_WORDS), V6_BASE_LONG_WORDS, a.high);
	return hit ? base_v6(copy, hit, a.high, a.low) : BASE_NOTHING;
}

/* ---- overlay and grants ---- */

/* Does any overlay or green entry touch it? Most addresses stop here, at their /16: entries are few, and reading 2 MB
 * at random is a cache miss a packet. */
static __always_inline bool touched(struct words a)
{
	__u32 cell_number, wide_number;

	if (!is_v4(a))
		return v6_filter(&touch_v6, 0, V6_TOUCH_LONG_WORDS, a.high);
	cell_number = (__u32)a.low >> 8;
	wide_number = cell_number >> 8;
	return bit_of(&touch_v4, wide_number / 64, wide_number) &&
	       bit_of(&touch_v4, V4_WIDE_WORDS + cell_number / 64, cell_number);
}

static __always_inline void key_of(struct prefix_key *key, struct words a)
{
	__be64 words_be[2] = {bpf_cpu_to_be64(a.high), bpf_cpu_to_be64(a.low)};

	key->length = 128;
	__builtin_memcpy(&key->address, words_be, sizeof(key->address));
}

/* Prefixes of IPv6 that cover ::ffff:0:0/96 say nothing of IPv4. */
static __always_inline __u32 shortest_length(struct words a)
{
	return is_v4(a) ? 96 : 0;
}

/* Yes from the line of this /24. Its number is read before and after: a line that changes hands meanwhile says nothing.
 */
static __always_inline bool green_line_says(__u32 address, __u64 now_ns)
{
	__u32 cell_number = address >> 8, n = cell_number & (GREEN_LINES - 1);
	volatile struct green_line *line = bpf_map_lookup_elem(&green_lines, &n);
	__u64 word;

	if (!line || line->cell_number != cell_number)
		return false;
	word = line->word[(address >> 6) & 3];
	return word >> (address & 63) & 1 && now_ns < line->until_ns && line->cell_number == cell_number;
}

/* The trie knows the longest prefix only; an expired one is stepped over to the next shorter. The daemon sweeps
 * expired entries, so a second turn is rare. */
__noinline int granted(__u64 high, __u64 low, __u64 now_ns)
{
	struct words a = {high, low};
	struct green_value *value;
	struct prefix_key key;

	key_of(&key, a);
	for (int i = 0; i < 129; i++) {
		value = bpf_map_lookup_elem(&green, &key);
		if (!value || value->length < shortest_length(a))
			return 0;
		if (now_ns < value->until_ns)
			return 1;
		if (value->length == 0 || value->length > 128)
			return 0;
		key.length = value->length - 1;
	}
	return 0;
}

enum overlay_answer {
	OVERLAY_NOTHING = 0,
	OVERLAY_BLOCK,
	OVERLAY_EXCEPTION,
};

static __always_inline enum overlay_answer overlay_says(const struct overlay_value *value, __u64 now_ns)
{
	if (now_ns < value->exception_until_ns)
		return OVERLAY_EXCEPTION;
	return now_ns < value->block_until_ns ? OVERLAY_BLOCK : OVERLAY_NOTHING;
}

/* enum overlay_answer of the longest live entry. Steps over expired ones as granted() does. */
__noinline int overlay_answer(__u64 high, __u64 low, __u64 now_ns)
{
	struct words a = {high, low};
	struct overlay_value *value;
	enum overlay_answer answer;
	struct prefix_key key;

	key_of(&key, a);
	value = bpf_map_lookup_elem(&overlay_hosts, &key.address);
	if (value) {
		answer = overlay_says(value, now_ns);
		if (answer)
			return answer;
	}
	for (int i = 0; i < 129; i++) {
		value = bpf_map_lookup_elem(&overlay_prefixes, &key);
		if (!value || value->length < shortest_length(a))
			return OVERLAY_NOTHING;
		answer = overlay_says(value, now_ns);
		if (answer)
			return answer;
		if (value->length == 0 || value->length > 128)
			return OVERLAY_NOTHING;
		key.length = value->length - 1;
	}
	return OVERLAY_NOTHING;
}
