/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* decide(): the order of decision, top to bottom, and nothing but looking. record(): counts, reports, and gives back
 * the verdict it was given. policy/evaluate.py says the same slowly; tests hold the two together.
 */
#pragma once

#include "parse.h"
#include "tables.h"

struct decision {
	__u32 verdict;
	__u32 drop_reason;
	__u32 lane;
	__u32 direction;
	__u32 epoch;	    /* read once a packet, first thing; the copy of every table follows from it */
	__u32 probe;	    /* counted as FACT_PROBE only */
	__u64 now_ns;	    /* boot clock, read when an entry matched; 0: not yet */
	__u32 hold_ifindex; /* the TAP that it goes to; 0: it is not held */
	__u32 names_active; /* as struct control says */
	__u32 would_drop;   /* enum drop_reason that only observed lists give: the packet goes on, and is told of */
	__u32 unused;
};

/* A step of decide(): this reason, or none of its business. */
#define CONTINUE DROP_FORWARDED

static __always_inline struct words source_of(const struct packet *p)
{
	return (struct words){p->source_high, p->source_low};
}

static __always_inline struct words destination_of(const struct packet *p)
{
	return (struct words){p->destination_high, p->destination_low};
}

/* The clock is read once a jiffy and CPU: reading it costs more than the lookups that ask for it. An entry so ends at
 * most one jiffy (4 ms at HZ 250) late. The time is stored before the tick, since one context may interrupt another. */
static __always_inline __u64 now_of(struct decision *d)
{
	__u64 tick = bpf_jiffies64();
	struct cpu_clock *clock;
	__u32 zero = 0;

	if (d->now_ns)
		return d->now_ns;
	clock = bpf_map_lookup_elem(&cpu_clocks, &zero);
	if (clock && clock->tick == tick) {
		d->now_ns = clock->boot_ns;
		return d->now_ns;
	}
	d->now_ns = bpf_ktime_get_boot_ns();
	if (clock) {
		clock->boot_ns = d->now_ns;
		barrier();
		clock->tick = tick;
	}
	return d->now_ns;
}

/* The guard knows a source by its longest prefix; each carries the flags of all that cover it. */
static __always_inline __u32 spoofed(const struct packet *p, const struct decision *d)
{
	struct guard_value *value;
	struct prefix_key key;
	__u32 flags;

	if (!settings.guard_inside && !settings.guard_bogons)
		return CONTINUE;
	key_of(&key, source_of(p));
	value = bpf_map_lookup_elem(&guard, &key);
	flags = value && value->length >= shortest_length(source_of(p)) ? value->flags : 0;
	if (flags & GUARD_LINK)
		return CONTINUE;
	if (d->direction == DIRECTION_OUTBOUND)
		return settings.guard_inside && !(flags & GUARD_INSIDE) ? DROP_SPOOFED_FOREIGN : CONTINUE;
	if (settings.guard_inside && flags & GUARD_INSIDE)
		return DROP_SPOOFED_INSIDE;
	return settings.guard_bogons && flags & GUARD_BOGON ? DROP_SPOOFED_BOGON : CONTINUE;
}

/* The two addresses of a packet, and whether an overlay or green entry may say something of them. */
struct sides {
	struct words inside;
	struct words outside;
	bool inside_touched;
	bool outside_touched;
};

/* The grant is asked for the inside address only. */
static __always_inline bool is_green(struct sides *s, struct decision *d)
{
	s->inside_touched = touched(s->inside);
	if (!s->inside_touched)
		return false;
	if (is_v4(s->inside) && green_line_says(s->inside.low, now_of(d)))
		return true;
	return granted(s->inside.high, s->inside.low, now_of(d));
}

/* One address: the overlay beats the base whatever the lengths, and an exception there ends the question. What only
 * observed lists refuse goes on to whatever else may be said of it. */
static __always_inline __u32 address_rule(struct words a, bool touched, struct decision *d, __u32 blocked, __u32 listed)
{
	int answer;

	if (touched) {
		answer = overlay_answer(a.high, a.low, now_of(d));
		if (answer)
			return answer == OVERLAY_BLOCK ? blocked : CONTINUE;
	}
	answer = base_says(d->epoch & 1, a);
	if (answer == BASE_LISTED)
		return listed;
	if (answer == BASE_OBSERVED && any_observed() && !d->would_drop)
		d->would_drop = listed;
	return CONTINUE;
}

static __always_inline __u32 blocked(struct sides *s, struct decision *d)
{
	bool outbound = d->direction == DIRECTION_OUTBOUND;
	struct words source = outbound ? s->inside : s->outside, destination = outbound ? s->outside : s->inside;
	__u32 reason;

	s->outside_touched = touched(s->outside);
	reason = address_rule(source, outbound ? s->inside_touched : s->outside_touched, d, DROP_BLOCKED_SOURCE,
			      DROP_LISTED_SOURCE);
	if (reason)
		return reason;
	return address_rule(destination, outbound ? s->outside_touched : s->inside_touched, d, DROP_BLOCKED_DESTINATION,
			    DROP_LISTED_DESTINATION);
}

static __always_inline void fragment_key_of(struct fragment_key *key, const struct packet *p)
{
	struct prefix_key address;

	__builtin_memset(key, 0, sizeof(*key));
	key_of(&address, source_of(p));
	key->source = address.address;
	key_of(&address, destination_of(p));
	key->destination = address.address;
	key->identification = p->identification;
	/* IPv6 fragments of one datagram may differ in what follows the fragment header */
	key->protocol = p->ip_version == 6 ? IPPROTO_FRAGMENT : p->protocol;
}

/* A later fragment follows the first one; without it, it passes by its addresses. */
static __always_inline __u32 fragment_rule(struct packet *p, struct decision *d)
{
	struct fragment_value *first;
	struct fragment_key key;

	if (p->fragment != FRAGMENT_LATER)
		return CONTINUE;
	fragment_key_of(&key, p);
	first = bpf_map_lookup_elem(&fragments, &key);
	if (!first || now_of(d) - first->seen_ns > FRAGMENT_LIFE_SECONDS * 1000000000ull) {
		p->facts |= FACT_BIT(FACT_FRAGMENT_WITHOUT_FIRST);
		return CONTINUE;
	}
	return first->drop_reason ? DROP_FRAGMENT_OF_DROPPED : CONTINUE;
}

/* The order of decision. `parsed` is what parse() answered: a malformed packet comes with its reason. */
static __always_inline __u32 decide(struct packet *p, struct decision *d, int parsed)
{
	bool outbound = d->direction == DIRECTION_OUTBOUND;
	struct sides sides = {
		.inside = outbound ? source_of(p) : destination_of(p),
		.outside = outbound ? destination_of(p) : source_of(p),
	};
	__u32 reason;

	if (parsed > 0)
		return parsed;
	if (!p->ip_version)
		return DROP_FORWARDED;
	reason = spoofed(p, d);
	if (reason)
		return reason;
	if (is_green(&sides, d)) {
		d->lane = LANE_GREEN;
		return DROP_FORWARDED;
	}
	reason = blocked(&sides, d);
	if (reason)
		return reason;
	return fragment_rule(p, d);
}

/* ---- record ---- */

/* Remembers what became of a datagram's first fragment that came as far as the address rules. */
static __always_inline void remember_fragment(struct packet *p, struct decision *d)
{
	struct fragment_value value = {};
	struct fragment_key key;

	if (p->fragment != FRAGMENT_FIRST || d->lane == LANE_GREEN ||
	    (d->drop_reason && d->drop_reason < DROP_BLOCKED_SOURCE))
		return;
	fragment_key_of(&key, p);
	value.seen_ns = now_of(d);
	value.drop_reason = d->drop_reason;
	if (bpf_map_update_elem(&fragments, &key, &value, BPF_ANY))
		p->facts |= FACT_BIT(FACT_FRAGMENT_TABLE_FULL);
}

static __always_inline void count(void *map, __u32 index, __u32 packets, __u32 bytes)
{
	struct counter *counter = bpf_map_lookup_elem(map, &index);

	if (counter) {
		counter->packets += packets;
		counter->bytes += bytes;
	}
}

/* At most EVENTS_A_TICK_MAX a jiffy and CPU, so that a flood of drops costs the wire no more than the drops. */
static __always_inline void report(const struct packet *p, const struct frame *f, struct decision *d, __u32 reason,
				   __u32 observed)
{
	struct event_budget *budget;
	struct prefix_key address;
	struct drop_event *event;
	__u64 tick = bpf_jiffies64();
	__u32 zero = 0;

	budget = bpf_map_lookup_elem(&event_budgets, &zero);
	if (!budget)
		return;
	if (budget->tick != tick) {
		budget->tick = tick;
		budget->spent = 0;
	}
	if (budget->spent >= EVENTS_A_TICK_MAX) {
		budget->skipped++;
		return;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		budget->skipped++;
		return;
	}
	event->boot_ns = now_of(d);
	key_of(&address, source_of(p));
	event->source = address.address;
	key_of(&address, destination_of(p));
	event->destination = address.address;
	event->epoch = d->epoch;
	event->length = f->length;
	event->weight = 1 + budget->skipped;
	event->source_port = p->source_port;
	event->destination_port = p->destination_port;
	event->vlan = p->vlan;
	event->ip_version = p->ip_version;
	event->protocol = p->protocol;
	event->ttl = p->ttl;
	event->drop_reason = reason;
	event->direction = d->direction;
	event->lane = d->lane;
	event->observed = observed;
	__builtin_memset(event->unused, 0, sizeof(event->unused));
	budget->spent++;
	budget->skipped = 0;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void count_facts(__u32 bits, __u32 packets, __u32 bytes)
{
	for (__u32 fact = 0; bits && fact <= FACT_HOLD_FULL; fact++) {
		if (bits & FACT_BIT(fact))
			count(&facts, fact, packets, bytes);
		bits &= ~FACT_BIT(fact);
	}
}

/* Why it is dropped, or would be. */
static __always_inline __u32 told_reason(const struct decision *d)
{
	return !d->drop_reason && any_observed() ? d->would_drop : d->drop_reason;
}

/* Counts and reports a decided packet; `packets` as on the wire. */
static __always_inline __u32 record(struct packet *p, const struct frame *f, struct decision *d, __u32 packets)
{
	__u32 reason = told_reason(d), observed = reason && d->verdict == VERDICT_FORWARD, index;

	remember_fragment(p, d);
	if (observed)
		p->facts |= FACT_BIT(FACT_OBSERVED);
	if (d->probe) {
		p->facts |= FACT_BIT(FACT_PROBE);
		count(&facts, FACT_PROBE, packets, f->length);
		return d->verdict;
	}
	if (!d->hold_ifindex) { /* else counted as forwarded or refused when the inspector has answered */
		index = (d->lane * DIRECTIONS + d->direction) * DROP_REASONS_MAX + (observed ? 0 : reason);
		count(&counters, index, packets, f->length);
	}
	if (p->facts)
		count_facts(p->facts, packets, f->length);
	if (reason) {
		if (observed)
			count(&observed_drops, reason, packets, f->length);
		/* of a refused name the inspector tells, who knows it */
		if (reason != DROP_REFUSED_NAME)
			report(p, f, d, reason, observed);
	}
	return d->verdict;
}

/* ---- what both spines begin with ---- */

/* Reads the epoch and the switches: whether names are read, and whether the gateway is a plain wire just now. */
static __always_inline bool begin(struct decision *d, __u32 *nonce)
{
	__u32 zero = 0;
	volatile struct control *c = bpf_map_lookup_elem(&control, &zero);
	__u64 bypass_until_ns;

	if (!c)
		return false;
	d->epoch = c->epoch;
	*nonce = c->probe_nonce;
	d->names_active = c->names_active;
	bypass_until_ns = c->bypass_until_ns;
	return bypass_until_ns && now_of(d) < bypass_until_ns;
}

static __always_inline void judge(struct packet *p, struct decision *d, int parsed, bool bypassed)
{
	if (bypassed) {
		p->facts = FACT_BIT(FACT_BYPASSED);
		p->fragment = FRAGMENT_NONE;
		return;
	}
	d->drop_reason = decide(p, d, parsed);
	d->verdict = d->drop_reason && !settings.observe ? VERDICT_DROP : VERDICT_FORWARD;
}
