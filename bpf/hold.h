/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The step behind the address rules: a packet that goes on, is inspected, and belongs to a flow whose name is not known
 * yet. It passes, goes to the inspector's TAP, or is dropped. tcx.bpf.c calls it.
 *
 * A client's SYN leaves its next sequence number in young_flows; the packet that begins there is read (names.h). What
 * is clean leaves no trace, so a flow without a trace is decided, or ran before the gateway did. What is listed, or not
 * here, takes a slot: from then on the client's packets go to the TAP until the inspector says PASSING or REFUSED.
 * Order: `held` is raised before the redirect, the inspector raises `released` after its write() has returned; a
 * passing flow goes direct only while the two are equal. What is in the TAP is bounded here, since its own drops can't
 * be seen. A DNS query over UDP is judged alone and leaves no trace.
 */
#pragma once

#include <linux/errno.h>

#include "names.h"
#include "verdict.h"

#define DNS_PORT 53
#define QUIC_INITIAL_BYTES_MIN 1200 /* RFC 9000 section 14.1 */

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* Of a packet that is read or held. */
struct name_query {
	__u64 mixed; /* hash of the flow in its direction; 0: nothing of it in young_flows */
	__u32 mark;
	__u32 at; /* the payload in the frame */
	__u32 length;
	__u32 start;  /* sequence number of the client's first byte */
	__u32 unread; /* held without a look */
	__u32 is_dns; /* over UDP */
};

/* ---- hashes ---- */

static __always_inline __u64 end_hash(__u64 high, __u64 low, __u32 port, const struct hold_control *hold)
{
	__u64 x = (low ^ hold->flow_key0) * (hold->flow_key1 | 1);

	x = ((x ^ x >> 32) + high + port) * (hold->flow_key0 | 1);
	return x ^ x >> 29;
}

struct flow_hashes {
	__u64 directed;
	__u32 mark; /* the same for both directions */
};

static __always_inline struct flow_hashes flow_hashes_of(const struct packet *p, const struct hold_control *hold)
{
	__u64 source = end_hash(p->source_high, p->source_low, p->source_port, hold);
	__u64 destination = end_hash(p->destination_high, p->destination_low, p->destination_port, hold);

	return (struct flow_hashes){
		.directed = (source * 3 + destination) * (hold->flow_key1 | 1),
		.mark = (source + destination) >> 40 & (HELD_MARKS - 1),
	};
}

static __always_inline __u32 *mark_of(__u32 mark)
{
	return bpf_map_lookup_elem(&held_marks, &mark);
}

/* ---- young flows ---- */

static __always_inline __u32 young_line_of(__u64 directed)
{
	return directed >> 20 & (YOUNG_LINES - 1);
}

/* Never 0, so that no slot in use is. */
static __always_inline __u64 young_tag_of(__u64 directed)
{
	return directed >> 40 | 1;
}

#define YOUNG_CLOCK_SHIFT 32 /* of nanoseconds: 4.3 s */
#define YOUNG_FRESH 15	     /* of these; one that is pushed out sooner counts */

static __always_inline void count_name(__u32 index)
{
	__u64 *count = bpf_map_lookup_elem(&names_seen, &index);

	if (count)
		*count += 1;
}

/* In front; the others move up to the first empty slot, or the last of them, the oldest, is pushed out. So a full line
 * keeps each flow for as long as it can, however many come within one tick of the clock. */
__noinline int young_put(__u64 directed, __u32 sequence, __u64 now_ns)
{
	__u32 n = young_line_of(directed);
	__u64 tag = young_tag_of(directed), clock = now_ns >> YOUNG_CLOCK_SHIFT & 0xff, slot;
	__u64 moved = tag << 40 | clock << 32 | sequence;
	volatile struct young_line *line = bpf_map_lookup_elem(&young_flows, &n);

	if (!line)
		return 0;
	for (__u32 i = 0; i < YOUNG_SLOTS; i++) {
		slot = line->slot[i];
		if (slot >> 40 == tag) {
			slot = 0; /* an earlier SYN of the same flow */
			line->slot[i] = 0;
		}
		if (moved) {
			line->slot[i] = moved;
			moved = slot;
		}
	}
	if (moved && (__u8)(clock - (moved >> 32)) <= YOUNG_FRESH)
		count_name(NAMES_PUSHED_OUT);
	return 0;
}

/* The slot of this flow, or NULL. */
static __always_inline volatile __u64 *young_of(__u64 directed)
{
	__u32 n = young_line_of(directed);
	__u64 tag = young_tag_of(directed);
	volatile struct young_line *line = bpf_map_lookup_elem(&young_flows, &n);

	if (!line)
		return NULL;
#pragma unroll
	for (__u32 i = 0; i < YOUNG_SLOTS; i++)
		if (line->slot[i] >> 40 == tag)
			return &line->slot[i];
	return NULL;
}

/* ---- holding ---- */

static __always_inline void flow_key_of(struct flow_key *key, const struct packet *p)
{
	struct words source = source_of(p), destination = destination_of(p);
	struct prefix_key low, high;
	bool swapped = source.high != destination.high ? source.high > destination.high
		       : source.low != destination.low ? source.low > destination.low
						       : p->source_port > p->destination_port;

	key_of(&low, swapped ? destination : source);
	key_of(&high, swapped ? source : destination);
	key->low = low.address;
	key->high = high.address;
	key->low_port = swapped ? p->destination_port : p->source_port;
	key->high_port = swapped ? p->source_port : p->destination_port;
	key->protocol = p->protocol;
	__builtin_memset(key->unused, 0, sizeof(key->unused));
}

static __always_inline void drop(struct decision *d, __u32 reason)
{
	d->drop_reason = reason;
	d->verdict = settings.observe ? VERDICT_FORWARD : VERDICT_DROP;
}

/* Nobody can look: the failure policy. */
static __always_inline void fail(struct packet *p, struct decision *d, const struct hold_control *hold, __u32 fact)
{
	p->facts |= FACT_BIT(fact);
	if (hold->closed)
		drop(d, DROP_NOT_INSPECTED);
}

static __always_inline bool is_away(struct decision *d, volatile struct hold_control *hold)
{
	__s64 silent_ns = now_of(d) - hold->heartbeat_ns;

	return silent_ns > HEARTBEAT_STALE_MS * 1000000ll || !hold->tap_ifindex[d->direction & 1];
}

/* Raises the counters and says where to; the redirect follows. `slot` may be NULL. */
static __always_inline void send_to_tap(struct packet *p, struct decision *d, volatile struct hold_control *hold,
					volatile struct hold_slot *slot)
{
	__u32 direction = d->direction & 1;

	if (is_away(d, hold)) {
		fail(p, d, (struct hold_control *)hold, FACT_INSPECTOR_AWAY);
		return;
	}
	if (slot && slot->held[direction] - slot->released[direction] >= FLOW_PACKETS_MAX) {
		fail(p, d, (struct hold_control *)hold, FACT_HOLD_FULL);
		/* or the rest of a name would pass the inspector in one burst; its sender sends it again */
		if (p->protocol == IPPROTO_TCP && slot->state == HOLD_HELD)
			drop(d, DROP_NOT_INSPECTED);
		return;
	}
	if (hold->held_total - hold->released_total >= TAP_PACKETS_MAX) {
		fail(p, d, (struct hold_control *)hold, FACT_HOLD_FULL);
		return;
	}
	__sync_fetch_and_add((__u64 *)&hold->held_total, 1);
	if (slot)
		__sync_fetch_and_add((__u32 *)&slot->held[direction], 1);
	p->facts |= FACT_BIT(FACT_HELD);
	d->hold_ifindex = hold->tap_ifindex[direction];
}

/* What the entry of a flow says. */
enum held_answer {
	HELD_NOTHING = 0, /* judge the packet as if there were none */
	HELD_DONE,	  /* all is said in the decision */
};

/* Of a packet with data: what a SYN between its ports left behind (a slot of young_flows). Beside an entry that
 * stands, it belongs to a later connection, of which the inspector would know nothing. 0: to none. A SYN leaves its own
 * here. */
static __always_inline __u64 later_of(const struct frame *f, struct packet *p, struct decision *d, __u64 directed)
{
	volatile __u64 *young;
	__u8 *octet = header_at(f, p->at, 20);
	__u32 sequence;
	bool data;

	if (!octet)
		return 0;
	sequence = bpf_ntohl(*(__be32 *)(octet + 4)) + 1;
	data = p->at + (octet[12] >> 4) * 4 < p->limit;
	if ((octet[13] & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
		if (data)
			return young_tag_of(directed) << 40 | sequence;
		young_put(directed, sequence, now_of(d));
		return 0;
	}
	young = data ? young_of(directed) : NULL;
	return young ? *young : 0;
}

/* A packet of a flow that may have an entry. `later`: later_of it. */
__noinline int ask_held(struct packet *p, struct decision *d, __u64 later)
{
	volatile struct hold_control *hold;
	volatile struct hold_slot *slot;
	struct held_flow *flow;
	struct flow_key key;
	__u32 zero = 0, direction, n;

	if (!p || !d)
		return HELD_NOTHING;
	flow_key_of(&key, p);
	flow = bpf_map_lookup_elem(&held_flows, &key);
	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!flow || !hold)
		return HELD_NOTHING;
	n = flow->slot;
	slot = bpf_map_lookup_elem(&hold_slots, &n);
	if (!slot)
		return HELD_NOTHING;
	direction = d->direction & 1;
	switch (slot->state) {
	case HOLD_REFUSED:
		if (now_of(d) >= slot->until_ns)
			return HELD_NOTHING;
		drop(d, DROP_REFUSED_NAME);
		return HELD_DONE;
	case HOLD_HELD:
		if (direction != slot->client_direction)
			return HELD_DONE;
		if ((__u32)later == slot->start) /* its own, seen before its first packet was settled */
			later = 0;
		break;
	default:
		if (slot->held[direction] == slot->released[direction])
			return p->protocol == IPPROTO_TCP ? HELD_NOTHING : HELD_DONE;
	}
	if (later)
		drop(d, DROP_NOT_INSPECTED); /* it comes again, and is read when the entry is out of its way */
	else
		send_to_tap(p, d, hold, slot);
	return HELD_DONE;
}

/* Takes a slot for the flow; NULL: none is free, or another packet of it was first. */
static __always_inline struct hold_slot *take_slot(const struct packet *p, struct decision *d,
						   const struct name_query *q, bool *full)
{
	struct held_flow flow = {};
	struct hold_slot *slot;
	struct flow_key key;
	__u32 *mark;
	long error;

	*full = true;
	if (bpf_map_pop_elem(&free_slots, &flow.slot))
		return NULL;
	slot = bpf_map_lookup_elem(&hold_slots, &flow.slot);
	mark = mark_of(q->mark);
	if (!slot || !mark)
		return NULL;
	flow.generation = slot->generation + 1;
	slot->generation = flow.generation;
	slot->until_ns = 0;
	slot->born_ns = now_of(d);
	slot->client_direction = d->direction;
	slot->reason = REASON_NONE;
	slot->start = q->start;
	slot->start_known = p->protocol == IPPROTO_TCP;
	slot->mark = q->mark;
	barrier();
	*(volatile __u32 *)&slot->state = HOLD_HELD;
	flow_key_of(&key, p);
	/* before the entry: whoever finds the mark looks for it */
	__sync_fetch_and_add(mark, 1);
	error = bpf_map_update_elem(&held_flows, &key, &flow, BPF_NOEXIST);
	if (!error)
		return slot;
	__sync_fetch_and_add(mark, -1);
	slot->state = HOLD_FREE;
	bpf_map_push_elem(&free_slots, &flow.slot, 0);
	*full = error != -EEXIST;
	return NULL;
}

/* It has to be held, and an entry of its flow stands already: another packet was first, or what stands there is over
 * and not swept yet. So it follows that one, or comes again. */
__noinline int follow_entry(struct packet *p, struct decision *d)
{
	volatile struct hold_control *hold;
	volatile struct hold_slot *slot;
	struct held_flow *flow;
	struct flow_key key;
	__u32 zero = 0, n;

	if (!p || !d)
		return 0;
	flow_key_of(&key, p);
	flow = bpf_map_lookup_elem(&held_flows, &key);
	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!flow || !hold) {
		drop(d, DROP_NOT_INSPECTED); /* swept just now */
		return 0;
	}
	n = flow->slot;
	slot = bpf_map_lookup_elem(&hold_slots, &n);
	if (!slot)
		return 0;
	if (slot->state == HOLD_REFUSED)
		drop(d, DROP_REFUSED_NAME);
	else if (slot->state == HOLD_PASSING && p->protocol == IPPROTO_TCP)
		drop(d, DROP_NOT_INSPECTED); /* of an earlier connection between these ports */
	else
		send_to_tap(p, d, hold, slot);
	return 0;
}

/* The packet has to be held. */
static __always_inline void hold_packet(struct packet *p, struct decision *d, const struct name_query *q)
{
	struct hold_control *hold;
	struct hold_slot *slot = NULL;
	__u32 zero = 0;
	bool full;

	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!hold)
		return;
	/* asked first: with nobody there, nothing is to be taken that nobody gives back */
	if (is_away(d, hold)) {
		fail(p, d, hold, FACT_INSPECTOR_AWAY);
		return;
	}
	if (*(volatile __u64 *)&hold->held_total - *(volatile __u64 *)&hold->released_total >= TAP_PACKETS_MAX) {
		fail(p, d, hold, FACT_HOLD_FULL);
		return;
	}
	if (!q->is_dns) {
		slot = take_slot(p, d, q, &full);
		if (!slot) {
			if (full)
				fail(p, d, hold, FACT_HOLD_FULL);
			else
				follow_entry(p, d);
			return;
		}
	}
	send_to_tap(p, d, hold, slot);
}

/* What follows from what was read: enum name_answer. */
__noinline int settle_name(struct packet *p, struct decision *d, struct name_query *q, int answer)
{
	volatile __u64 *young;
	struct name_window *w;
	__u32 zero = 0;

	if (!p || !d || !q)
		return 0;
	if (answer == NAME_CLEAN || answer == NAME_NONE) {
		w = bpf_map_lookup_elem(&name_window, &zero);
		if (w)
			count_name(w->read.protocol * NAME_CLASSES + w->read.name_class);
	} else {
		hold_packet(p, d, q);
	}
	/* Decided, or the inspector's from here on. What was dropped for want of one comes again. */
	if (q->mixed && d->verdict == VERDICT_FORWARD) {
		young = young_of(q->mixed);
		if (young)
			*young = 0;
	}
	return 0;
}

/* Reads, and holds what is not clean. Two calls from the spine, as the stack of three levels would be too deep. */
static __always_inline void judge_name(context *skb, struct packet *p, struct decision *d, struct name_query *q)
{
	int answer = NAME_NOT_HERE;

#ifdef NAMES_HELD
	(void)skb;
#else
	if (!q->unread)
		answer = read_name(skb, q->at, q->length, q->is_dns, d->epoch & 1);
#endif
	settle_name(p, d, q, answer);
}

/* ---- the step ---- */

static __always_inline void name_of_tcp(context *skb, const struct frame *f, struct packet *p, struct decision *d,
					__u64 directed, __u32 mark)
{
	struct name_query q = {};
	volatile __u64 *young;
	__u8 *octet = header_at(f, p->at, 20);
	__u32 header, sequence;

	if (!octet)
		return;
	header = (octet[12] >> 4) * 4;
	q.at = p->at + header;
	q.length = p->limit - p->at - header;
	sequence = bpf_ntohl(*(__be32 *)(octet + 4));
	if ((octet[13] & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
		if (!q.length) {
			young_put(directed, sequence + 1, now_of(d));
			return;
		}
		sequence++; /* with data (RFC 7413) */
		q.start = sequence;
	} else {
		if (!q.length)
			return;
		young = young_of(directed);
		if (!young)
			return;
		q.start = *young;
		q.mixed = directed;
	}
	q.mark = mark;
	q.unread = sequence != q.start || p->destination_port == DNS_PORT;
	judge_name(skb, p, d, &q);
}

/* A long header of version 1 or 2 that is no Retry, RFC 9000 section 17.2, RFC 9369 section 3.2: an Initial may stand
 * behind another packet in the same datagram. */
static __always_inline bool may_hold_initial(context *skb, __u32 at)
{
	__u8 start[5];
	__u32 version;

	if (bpf_skb_load_bytes(skb, at, start, sizeof(start)))
		return false;
	version = (__u32)start[1] << 24 | start[2] << 16 | start[3] << 8 | start[4];
	if (!(start[0] & 0x80)) /* the bit below may be anything: RFC 9287 */
		return false;
	return (version == 1 && (start[0] & 0x30) != 0x30) || (version == 0x6b3343cf && (start[0] & 0x30) != 0);
}

static __always_inline void name_of_udp(context *skb, const struct frame *f, struct packet *p, struct decision *d,
					__u32 mark)
{
	struct name_query q = {.mark = mark, .at = p->at + 8, .length = p->limit - p->at - 8};
	struct transport_start *start;
	__u32 stated;

	if (p->destination_port == DNS_PORT) {
		start = header_at(f, p->at, 8);
		if (!start)
			return;
		stated = bpf_ntohs(start->length_be) - 8;
		q.unread = f->super; /* several queries */
		q.is_dns = 1;
		if (!f->super && stated < q.length)
			q.length = stated;
		if (!q.length)
			return;
	} else {
		if (q.length < QUIC_INITIAL_BYTES_MIN || !may_hold_initial(skb, q.at))
			return;
		q.unread = 1;
	}
	judge_name(skb, p, d, &q);
}

/* A packet that the address rules let go on. */
static __always_inline void name_rule(context *skb, struct packet *p, struct decision *d)
{
	struct hold_control *hold;
	struct flow_hashes hashes;
	struct frame f;
	__u32 zero = 0;
	__u64 later = 0;
	__u32 *mark;

	if (!d->names_active || d->drop_reason || d->lane != LANE_INSPECTED || d->probe || p->fragment ||
	    (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP) ||
	    p->facts & (FACT_BIT(FACT_OPAQUE) | FACT_BIT(FACT_BYPASSED)))
		return;
	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!hold)
		return;
	hashes = flow_hashes_of(p, hold);
	mark = mark_of(hashes.mark);
	f = frame_of(skb);
	if (mark && *(volatile __u32 *)mark) {
		if (p->protocol == IPPROTO_TCP)
			later = later_of(&f, p, d, hashes.directed);
		if (ask_held(p, d, later) == HELD_DONE)
			return;
	}
	if (p->protocol == IPPROTO_TCP)
		name_of_tcp(skb, &f, p, d, hashes.directed, hashes.mark);
	else
		name_of_udp(skb, &f, p, d, hashes.mark);
}
