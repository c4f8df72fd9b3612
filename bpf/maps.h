/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Every map: what for, size, who writes, who reads, what happens when it is full.
 *
 * Base tables hold two copies in one flat array, copy (epoch & 1) behind copy × size: a map in a map costs 41-52 ns
 * more a lookup. Array maps are BPF_F_MMAPABLE: user space fills them as memory. Sizes marked (load) are set by the
 * loader from the snapshot; struct settings carries them, and they are too small only until it has loaded larger ones.
 */
#pragma once

#include "abi.h"

#define ARRAY_OF(value_type, entries)                                                                                  \
	__uint(type, BPF_MAP_TYPE_ARRAY);                                                                               \
	__uint(map_flags, BPF_F_MMAPABLE);                                                                              \
	__uint(max_entries, entries);                                                                                   \
	__type(key, __u32);                                                                                            \
	__type(value, value_type)

/* 1 element. Writer: daemon. Reader: both programs, epoch first thing. */
struct {
	ARRAY_OF(struct control, 1);
} control SEC(".maps");

/* ---- base: compiled lists, two copies ---- */

/* Which /24s the base says anything about, and where their bitmaps begin. 2 × 2.8 MB. Writer: daemon, idle copy. */
struct {
	ARRAY_OF(struct front_line, 2 * V4_FRONT_LINES);
} base_front SEC(".maps");

/* Bitmaps of the /24s in base_front, in their order: 32 bytes each, 2 × settings.bitmaps (load). Full: the daemon asks
 * the loader for larger maps before it fills. */
struct {
	ARRAY_OF(struct bitmap, 2);
} base_bitmaps SEC(".maps");

/* Which bits of those bitmaps only observed lists set: the packet is told of, and goes on. Asked after a hit there, and
 * only where settings.observed (load) says that it is larger than 1. Full: as base_bitmaps. */
struct {
	ARRAY_OF(struct bitmap, 2);
} base_observed SEC(".maps");

/* Does the base say anything about this IPv6 address? Short prefixes by /16, others by hashed /48. 2 × 1 MB. */
struct {
	ARRAY_OF(__u64, 2 * (V6_SHORT_WORDS + V6_BASE_LONG_WORDS));
} base_v6_filter SEC(".maps");

/* Hash table of IPv6 prefixes: bucket → its slots. 2 × settings.v6_buckets (load). Full: as base_bitmaps. */
struct {
	ARRAY_OF(struct v6_bucket, 2);
} base_v6_buckets SEC(".maps");

/* Slots in the order of their bucket, 24 bytes each. 2 × settings.v6_slots (load). Full: as base_bitmaps. */
struct {
	ARRAY_OF(struct v6_slot, 2);
} base_v6_slots SEC(".maps");

/* How base_v6_buckets is hashed, and which lengths are asked. 2 elements of 152 bytes, one a copy. Writer: daemon, idle
 * copy. Reader: both programs, after base_v6_filter. Never full: all 129 lengths have room. */
struct {
	ARRAY_OF(struct base_meta, 2);
} base_meta SEC(".maps");

/* ---- overlay and grants: one entry at a time ---- */

/* Does any overlay or green entry touch this /16, this /24? 8 KB, then 2 MB. Writer: daemon (set before the entry,
 * cleared after it). */
struct {
	ARRAY_OF(__u64, V4_WIDE_WORDS + V4_TOUCH_WORDS);
} touch_v4 SEC(".maps");

/* The same for IPv6, laid out as base_v6_filter. */
struct {
	ARRAY_OF(__u64, V6_SHORT_WORDS + V6_TOUCH_LONG_WORDS);
} touch_v6 SEC(".maps");

/* Single addresses. Writer: daemon. Full: the daemon refuses the entry (OVERLAY_ENTRIES_MAX counts both maps). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OVERLAY_ENTRIES_MAX);
	__type(key, struct address);
	__type(value, struct overlay_value);
} overlay_hosts SEC(".maps");

/* Prefixes shorter than a host. Writer, full: as overlay_hosts. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, OVERLAY_ENTRIES_MAX);
	__type(key, struct prefix_key);
	__type(value, struct overlay_value);
} overlay_prefixes SEC(".maps");

/* Granted inside prefixes, hosts too. Writer: daemon. Full: the daemon refuses the grant. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GREEN_ENTRIES_MAX);
	__type(key, struct prefix_key);
	__type(value, struct green_value);
} green SEC(".maps");

/* Granted IPv4 /24s, directly mapped by the low bits of their number. 1 MB. Writer: daemon. Two /24s of one place: the
 * lower one has it, the other is asked of the trie. */
struct {
	ARRAY_OF(struct green_line, GREEN_LINES);
} green_lines SEC(".maps");

/* ---- made anew at every load, never taken over ---- */

/* Inside prefixes and bogons with the flags of all that cover them. Writer: loader, before the programs run. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GUARD_ENTRIES_MAX);
	__type(key, struct prefix_key);
	__type(value, struct guard_value);
} guard SEC(".maps");

/* ---- state of the programs ---- */

/* First fragments and what became of them. Writer: programs; the daemon sweeps those over FRAGMENT_LIFE_SECONDS.
 * Full: the fragment passes by its addresses and FACT_FRAGMENT_TABLE_FULL counts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, struct fragment_value);
} fragments SEC(".maps");

/* All packets: index (lane × DIRECTIONS + direction) × DROP_REASONS_MAX + drop reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LANES * DIRECTIONS * DROP_REASONS_MAX);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

/* With --observe, and of lists that are only observed: what would have been dropped, by drop reason. These packets are
 * forwarded in counters. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASONS_MAX);
	__type(key, __u32);
	__type(value, struct counter);
} observed_drops SEC(".maps");

/* By enum fact. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FACTS_MAX);
	__type(key, __u32);
	__type(value, struct counter);
} facts SEC(".maps");

/* 1 element. Writer, reader: programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_clock);
} cpu_clocks SEC(".maps");

/* Sampled drops, 1 MB. Writer: programs. Reader: daemon. Full: the event is skipped and the next one's weight grows. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

/* How many drop events this tick has had, and how many were skipped since the last one. 1 element of 16 bytes a CPU.
 * Writer, reader: programs. Spent: the event is skipped and the next one's weight grows, as where `events` is full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_budget);
} event_budgets SEC(".maps");

/* ---- names ---- */

/* 1 element, 192 bytes. Writers: daemon, programs, inspector, a cache line each. Made together with the maps of held
 * flows below, which are of no use without one another. */
struct {
	ARRAY_OF(struct hold_control, 1);
} hold_control SEC(".maps");

/* Clients that have sent a SYN and nothing else yet. 1 MB. Writer, reader: programs. Full: the oldest of the line is
 * pushed out, counts as NAMES_PUSHED_OUT, and passes unread. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, YOUNG_LINES);
	__type(key, __u32);
	__type(value, struct young_line);
} young_flows SEC(".maps");

/* Flows that the inspector has, or had refused. Not an LRU: nothing that an outsider sends pushes one out. Writers:
 * programs put, the inspector removes. Full: the failure policy, and FACT_HOLD_FULL. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HELD_FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct held_flow);
} held_flows SEC(".maps");

/* Entries of held_flows by part of their hash: at 0 there is none, and none is looked for. 32 KB (an element
 * takes 8 bytes), always cached. */
struct {
	ARRAY_OF(__u32, HELD_MARKS);
} held_marks SEC(".maps");

/* Numbers of the free elements of hold_slots. Writers: the loader fills it, programs pop, the inspector pushes back
 * after a grace period. Empty: as held_flows full. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, HELD_FLOWS_MAX);
	__type(value, __u32);
} free_slots SEC(".maps");

/* 1 MB. Writers: programs while a slot is being taken, and `held`; the inspector everything else. */
struct {
	ARRAY_OF(struct hold_slot, HELD_FLOWS_MAX);
} hold_slots SEC(".maps");

/* Filter of the listed names: four fingerprints a word. 2 × settings.name_words (load). Writer: daemon, idle copy.
 * Full: as base_bitmaps. */
struct {
	ARRAY_OF(__u64, 2);
} name_filter SEC(".maps");

/* 2 elements, flipped with the base. Writer: daemon. */
struct {
	ARRAY_OF(struct name_meta, 2);
} name_meta SEC(".maps");

/* Names that a person blocked, by hash under hold_control's key: plain for what is below, tagged for the name itself.
 * Writer: daemon. Full: the daemon refuses the entry. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OVERLAY_NAMES_MAX);
	__type(key, __u64);
	__type(value, __u32);
} overlay_names SEC(".maps");

/* What the program reads a name in. Writer, reader: programs; tests look at what was read last. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct name_window);
} name_window SEC(".maps");

/* Flows (of DNS, queries) that the program decided, see NAMES_SEEN_MAX. Those that the inspector decided stand in
 * inspector_counts. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NAMES_SEEN_MAX);
	__type(key, __u32);
	__type(value, __u64);
} names_seen SEC(".maps");

/* By enum inspector_count. Writer: inspector. No program reads it; it stands here to be made and pinned with the rest.
 */
struct {
	ARRAY_OF(__u64, INSPECTOR_COUNTS);
} inspector_counts SEC(".maps");
