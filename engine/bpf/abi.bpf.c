/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Never loaded: carries the closed lists of abi.h and linux/bpf.h's context of a packet into BTF, where build.rs reads
 * them. Only what a variable really uses survives there. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "generator.h"
#include "name_cost.h"

enum reason a_reason;
enum lane a_lane;
enum verdict a_verdict;
enum direction a_direction;
enum drop_reason a_drop_reason;
enum fact a_fact;
enum limit a_limit;
enum cell a_cell;
enum guard_flag a_guard_flag;
enum name_protocol a_name_protocol;
enum name_class a_name_class;
enum name_answer a_name_answer;
enum hold_state a_hold_state;
enum inspector_count an_inspector_count;

struct settings a_settings;
struct control a_control;
struct front_line a_front_line;
struct green_line a_green_line;
struct bitmap a_bitmap;
struct v6_slot a_v6_slot;
struct v6_bucket a_v6_bucket;
struct base_meta a_base_meta;
struct prefix_key a_prefix_key;
struct overlay_value an_overlay_value;
struct green_value a_green_value;
struct guard_value a_guard_value;
struct fragment_key a_fragment_key;
struct fragment_value a_fragment_value;
struct counter a_counter;
struct drop_event a_drop_event;
struct probe_outcome a_probe_outcome;
struct hold_control a_hold_control;
struct young_line a_young_line;
struct flow_key a_flow_key;
struct held_flow a_held_flow;
struct hold_slot a_hold_slot;
struct name_meta a_name_meta;
struct name_read a_name_read;
struct name_window a_name_window;

struct draw a_draw;
struct pair a_pair;
struct name_draw a_name_draw;

struct __sk_buff an_skb;
