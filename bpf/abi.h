/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What kernel and user space share: closed lists, limits, structs of map values. No code.
 *
 * Included by every file in bpf/; Rust has it from the object's BTF (engine/build.rs), Python from the extension's
 * classes. Lists grow only at their end; a retired value keeps its place for good, so that old dashboards stay true.
 * Whatever is big-endian on the wire is called _be; every other integer is in host order.
 */
#pragma once

#include <linux/types.h>

/* Why an entry is refused: the closed list. There is no category for opinion, author, topic or encryption. */
enum reason {
	REASON_NONE = 0,
	REASON_MALWARE = 1,
	REASON_PHISHING = 2,
	REASON_BOTNET_C2 = 3,
	REASON_EXPLOIT = 4,
	REASON_SCANNER = 5,
	REASON_BRUTE_FORCE = 6,
	REASON_FLOOD = 7,
	REASON_SPOOFED = 8,
};

enum lane {
	LANE_INSPECTED = 0,
	LANE_GREEN = 1,
	LANE_CDN = 2, /* not counted yet */
};

enum verdict {
	VERDICT_FORWARD = 0,
	VERDICT_DROP = 1,
};

enum direction {
	DIRECTION_OUTBOUND = 0, /* came in at the inside port */
	DIRECTION_INBOUND = 1,	/* came in at the outside port */
};

/* One number: what decide() returns, the counter's index, and the event's reason. 0 is forwarded, so that one table
 * sums to all packets. */
enum drop_reason {
	DROP_FORWARDED = 0,
	/* lengths that contradict each other, by the header that does */
	DROP_MALFORMED_ETHERNET = 1, /* a tag that ends before its EtherType */
	DROP_MALFORMED_PPPOE = 2,
	DROP_MALFORMED_MPLS = 3,
	DROP_MALFORMED_IPV4 = 4,
	DROP_MALFORMED_IPV6 = 5,
	DROP_MALFORMED_FRAGMENT = 6, /* reaches past 65 535 bytes, or not the last and no multiple of 8 */
	DROP_MALFORMED_TCP = 7,
	DROP_MALFORMED_UDP = 8,
	DROP_MALFORMED_ICMP = 9,
	/* the spoof guard, each only where it is configured */
	DROP_SPOOFED_INSIDE = 10,  /* from outside, with an inside source */
	DROP_SPOOFED_BOGON = 11,   /* from outside, with a source that nobody may use */
	DROP_SPOOFED_FOREIGN = 12, /* from inside, with a source of no inside prefix */
	/* address rules; the source is asked first */
	DROP_BLOCKED_SOURCE = 13, /* overlay: one entry, by a person or a detector */
	DROP_BLOCKED_DESTINATION = 14,
	DROP_LISTED_SOURCE = 15, /* base: a list */
	DROP_LISTED_DESTINATION = 16,
	DROP_FRAGMENT_OF_DROPPED = 17, /* the datagram's first fragment was dropped */
	/* names */
	DROP_REFUSED_NAME = 18,	 /* the flow's name is refused, or the query's */
	DROP_NOT_INSPECTED = 19, /* --on-failure closed: nobody was there to read the name */
};

/* What was noticed about a packet that goes on. Counted beside the verdict; unknown is not malicious. */
enum fact {
	FACT_NOT_IP = 0,	  /* ARP, LLDP, STP, LACP, …: crosses untouched */
	FACT_TUNNEL = 1,	  /* IP-in-IP, GRE, ESP, VXLAN, …: the outer addresses were asked */
	FACT_OPAQUE = 2,	  /* tags or labels deeper than the limits below, or a header out of reach */
	FACT_EXTENSION_LIMIT = 3, /* more than EXTENSION_HEADERS_MAX IPv6 extension headers */
	FACT_FRAGMENT = 4,	  /* any fragment */
	FACT_FRAGMENT_WITHOUT_FIRST = 5,
	FACT_FRAGMENT_TABLE_FULL = 6,
	FACT_FRAGMENT_TINY = 7,	  /* a first fragment that ends inside its TCP, UDP or ICMP header */
	FACT_BYPASSED = 8,	  /* the gateway was a plain wire */
	FACT_OBSERVED = 9,	  /* would have been dropped, but for --observe, or since a list is only observed */
	FACT_SUPER_PACKET = 10,	  /* GSO or GRO: several wire packets in one buffer */
	FACT_PROBE = 11,	  /* a canary or explain --live: counted here and nowhere else */
	FACT_HELD = 12,		  /* went to the inspector; counted as forwarded or refused when it has answered */
	FACT_INSPECTOR_AWAY = 13, /* had to be held, and the inspector's heartbeat was stale */
	FACT_HOLD_FULL = 14,	  /* had to be held, and there was no room */
};

/* Where a name was read. Numbers and words are those of engine/inspector/src/observation.rs. */
enum name_protocol {
	NAME_DNS = 0,
	NAME_HTTP = 1,
	NAME_TLS = 2,
	NAME_QUIC = 3,
	NAME_OTHER = 4, /* begins like none of these */
};

enum name_class {
	CLASS_SEEN = 0,
	CLASS_PUBLIC_ECH = 1, /* the public name of a provider's encrypted hellos: the name behind it is hidden */
	CLASS_NONE = 2,
};

/* What the program's reader says. */
enum name_answer {
	NAME_NOT_HERE = 0, /* the inspector has to read it */
	NAME_CLEAN = 1,
	NAME_LISTED = 2, /* by the filter, which knows no more than that; or by the overlay */
	NAME_NONE = 3,	 /* surely there is none */
};

/* Of a flow in hold_slots. Written by the program on the way in, by the inspector from then on. */
enum hold_state {
	HOLD_FREE = 0,	  /* in free_slots */
	HOLD_HELD = 1,	  /* the client's packets go to the inspector */
	HOLD_PASSING = 2, /* direct when nothing of its direction is in the TAP any more, else behind it */
	HOLD_REFUSED = 3, /* dropped, both directions, until until_ns */
};

/* Index in inspector_counts. Below the first: name_protocol × NAME_CLASSES + name_class, as in names_seen. */
enum inspector_count {
	INSPECTOR_FLOWS_HELD = 64,
	INSPECTOR_REFUSED_DNS = 65, /* queries; of the others flows */
	INSPECTOR_REFUSED_HTTP = 66,
	INSPECTOR_REFUSED_TLS = 67,
	INSPECTOR_REFUSED_QUIC = 68,
	INSPECTOR_GAVE_UP = 69, /* passed as unknown: its time or a bound was reached */
	INSPECTOR_ANSWERED_DNS = 70,
	INSPECTOR_ANSWERED_HTTP = 71,
	INSPECTOR_ANSWERED_RESET = 72,
	INSPECTOR_ANSWERED_UNREACHABLE = 73,
	INSPECTOR_NOT_ANSWERED = 74, /* refused where no answer can be built */
	INSPECTOR_LOST = 75,	     /* packets that ended with their inspector */
	INSPECTOR_RESTARTED = 76,
	INSPECTOR_TAP_DROPPED = 77,
	INSPECTOR_ADOPTED = 78, /* flows found held by a predecessor */
	INSPECTOR_EVENTS_LOST = 79,
	INSPECTOR_AMBIGUOUS = 80,	/* flows whose overlapping segments disagreed */
	INSPECTOR_REFUSED_PACKETS = 81, /* and the next: by enum direction; so are those below */
	INSPECTOR_REFUSED_BYTES = 83,
	INSPECTOR_ANSWER_PACKETS = 85, /* written to the TAP of that direction: no packet that came in */
	INSPECTOR_ANSWER_BYTES = 87,
	INSPECTOR_OBSERVED = 89, /* flows and queries that only observed lists would have refused */
};

/* Limits, with what they cost. They are an enum since a #define does not survive into BTF. */
enum limit {
	ABI_VERSION = 1,
	VLAN_TAGS_MAX = 3,
	MPLS_LABELS_MAX = 8,
	EXTENSION_HEADERS_MAX = 8,
	LANES = 3,
	DIRECTIONS = 2,
	DROP_REASONS_MAX = 64, /* room in the counters; 3 × 2 × 64 × 16 bytes a CPU */
	FACTS_MAX = 32,
	V4_FRONT_WORDS = 6,	       /* of 64 /24s each, a line of 64 bytes */
	V4_FRONT_LINES = 43691,	       /* 2^18 words in sixes: 2.8 MB a copy */
	V4_WIDE_WORDS = 1 << 10,       /* one bit a /16: 8 KB, in the first-level cache */
	V4_TOUCH_WORDS = 1 << 18,      /* one bit a /24 in 64-bit words: 2 MB */
	V6_SHORT_WORDS = 1 << 10,      /* one bit a /16: 8 KB */
	V6_BASE_LONG_WORDS = 1 << 17,  /* hashed /48s: 1 MB a copy */
	V6_TOUCH_LONG_WORDS = 1 << 14, /* hashed /48s of overlay and grants: 128 KB */
	V6_BUCKET_SLOTS_MAX = 16,      /* compile takes another seed sooner than it fills a bucket further */
	OVERLAY_ENTRIES_MAX = 100000,  /* hosts and prefixes together */
	GREEN_ENTRIES_MAX = 65536,
	GREEN_LINES = 1 << 14, /* /24s with a grant that need no trie: 1 MB */
	GUARD_ENTRIES_MAX = 4096,
	FRAGMENTS_MAX = 16384,
	FRAGMENT_LIFE_SECONDS = 30, /* Linux's own ipfrag_time */
	EVENTS_BYTES = 1 << 20,
	EVENTS_A_TICK_MAX = 8, /* a CPU and jiffy: 2 000 events/s at HZ 250 */
	NAME_CLASSES = 3,
	NAMES_SEEN_MAX = 16,   /* name_protocol × NAME_CLASSES + name_class, then NAMES_PUSHED_OUT */
	NAMES_PUSHED_OUT = 15, /* young flows that newer ones pushed out of young_flows: they pass unread */
	YOUNG_LINES = 1 << 14, /* of YOUNG_SLOTS flows whose first data is awaited: 1 MB */
	YOUNG_SLOTS = 8,
	HELD_FLOWS_MAX = 16384, /* held, passing behind, and refused ones together: 64 bytes each, and a hash entry;
				 * in the inspector READING_BYTES_MAX (128 MB) for all that are read */
	HELD_MARKS = 4096,	/* 32 KB, so that flows of no entry cost no hash lookup */
	TAP_PACKETS_MAX = 2048, /* in the TAPs, both together; below their txqueuelen of 4 096 */
	FLOW_PACKETS_MAX = 64,	/* of one flow and direction in its TAP */
	HEARTBEAT_STALE_MS = 80,
	NAME_WINDOW_BYTES = 4096,  /* a CPU; a power of two, and more than is copied into it */
	OVERLAY_NAMES_MAX = 65536, /* keys, two for a name that stands for what is below it too: 5 MB */
	PUBLIC_ECH_MAX = 8,
	INSPECTOR_COUNTS = 128,
};

/* Cell of a /24 in a compiled base: listed whole, or a bitmap of it. In the kernel each of them has a bitmap. */
enum cell {
	CELL_NOTHING = 0,
	CELL_LISTED = 1,
	CELL_OBSERVED = 2, /* whole, and by lists alone that are only observed */
	CELL_BITMAP = 256, /* CELL_BITMAP + n: bitmap n of the snapshot */
};

enum guard_flag {
	GUARD_INSIDE = 1, /* belongs to an inside prefix */
	GUARD_BOGON = 2,  /* no legitimate source on the internet */
	GUARD_LINK = 4, /* link scope or unspecified (fe80::/10, ::, 0.0.0.0, 169.254/16): never judged by the guard */
};

/* Set at load, frozen with the program: a changed setting is a new program, put in by bpf_link_update. */
struct settings {
	__u32 inside_ifindex;
	__u32 outside_ifindex;
	__u32 observe;	    /* count, drop nothing */
	__u32 guard_inside; /* inside prefixes are configured */
	__u32 guard_bogons; /* --drop-bogons */
	__u32 xdp_forward;  /* the XDP program forwards too; 0: it only drops */
	__u32 bitmaps;	    /* elements a copy in base_bitmaps */
	__u32 v6_buckets;   /* elements a copy in base_v6_buckets: a power of two */
	__u32 v6_slots;	    /* elements a copy in base_v6_slots */
	__u32 name_words;   /* elements a copy in name_filter */
	__u32 observed;	    /* elements a copy in base_observed; 1: no list is only observed, and nothing asks */
};

/* The one word that publishes a base, and what a person may turn at once. Written by the daemon only. */
struct control {
	__u32 epoch;	       /* copy = epoch & 1 */
	__u32 probe_nonce;     /* skb->mark, or the first word of XDP metadata, of a probe; 0: no probes */
	__u64 bypass_until_ns; /* boot clock; 0: no bypass. Ends without the daemon */
	__u64 heartbeat_ns;    /* boot clock: the daemon's last turn, for whoever looks from outside */
	__u32 names_active;    /* 0: the name step is skipped, and nothing of hold_control is read */
	__u32 unused;
};

/* 384 /24s: which of them the base says anything about, how many such /24s stand before the line, and how many of the
 * line before each of its words. So the bitmap of a /24 is number rank + within + (set bits below its own), and a clean
 * address costs one read of one cache line. */
struct front_line {
	__u64 present[6]; /* V4_FRONT_WORDS */
	__u32 rank;
	__u16 within[6];
};

/* One bit an address of a /24, bit n of word n / 64. */
struct bitmap {
	__u64 word[4];
};

/* An IPv6 prefix as two words in host order; bits past its length are 0. */
struct v6_slot {
	__u64 high;
	__u64 low;
	__u8 length;
	__u8 listed; /* 0: an exception, 1: listed, 2: by lists alone that are only observed */
	__u8 unused[6];
};

struct v6_bucket {
	__u32 first; /* of this copy's slots */
	__u32 count;
};

/* Per copy, flipped with it. Lengths longest first. Hash: see v6_hash() in tables.h. */
struct base_meta {
	__u64 v6_seed;
	__u32 v6_bucket_mask; /* buckets in use - 1 */
	__u32 v6_length_count;
	__u8 v6_length[136]; /* 129 are possible */
};

/* Address of either family, big-endian as on the wire; IPv4 as ::ffff:a.b.c.d, its prefixes 96 longer. */
struct address {
	__u8 octet[16];
};

struct prefix_key {
	__u32 length;
	struct address address;
};

/* Overlay: both can stand at one prefix; a live exception beats a live block. Boot clock in ns, 0: none. */
struct overlay_value {
	__u64 block_until_ns;
	__u64 exception_until_ns;
	__u32 length; /* of the prefix it stands under, so that an expired one can be stepped over */
	__u32 unused;
};

struct green_value {
	__u64 until_ns; /* boot clock */
	__u32 length;
	__u32 unused;
};

/* What the trie of grants says of one IPv4 /24, for the common case: one read of one cache line. It only ever says yes:
 * a line of another /24, a bit that is 0, or a time that is over sends the question to the trie. */
struct green_line {
	__u64 until_ns; /* the earliest end of those grants that cover any of it; 0: nothing, and while it is rewritten
			 */
	__u64 word[4];	/* one bit an address */
	__u32 cell_number;
	__u32 unused[5];
};

struct guard_value {
	__u32 flags;  /* enum guard_flag, those of all covering prefixes of its family together */
	__u32 length; /* of the prefix: one of IPv6 that covers ::ffff:0:0/96 says nothing of IPv4 */
};

struct fragment_key {
	struct address source;
	struct address destination;
	__u32 identification;
	__u8 protocol;
	__u8 unused[3];
};

struct fragment_value {
	__u64 seen_ns; /* boot clock */
	__u32 drop_reason;
	__u32 unused;
};

struct counter {
	__u64 packets; /* as on the wire: a super-packet counts its segments */
	__u64 bytes;
};

/* The boot clock as this CPU last read it; good for the rest of a jiffy. */
struct cpu_clock {
	__u64 boot_ns;
	__u64 tick; /* jiffies */
};

struct event_budget {
	__u64 tick; /* jiffies */
	__u32 spent;
	__u32 skipped; /* since the last event of this CPU */
};

struct drop_event {
	__u64 boot_ns;
	struct address source;
	struct address destination;
	__u32 epoch;
	__u32 length; /* bytes of the frame */
	__u32 weight; /* drops that it stands for: 1 + those skipped before it on this CPU */
	__u16 source_port;
	__u16 destination_port;
	__u16 vlan; /* outermost VLAN id, 0: none */
	__u8 ip_version;
	__u8 protocol;
	__u8 ttl;
	__u8 drop_reason;
	__u8 direction;
	__u8 lane;
	__u8 observed; /* 1: only would have been dropped */
	__u8 unused[7];
};

/* What the program says of a probe: in skb->cb[0..4], or over the first 20 bytes of XDP metadata. */
struct probe_outcome {
	__u32 verdict;
	__u32 drop_reason;
	__u32 lane;
	__u32 epoch;
	__u32 facts; /* bit n: enum fact n */
};

/* ---- names ---- */

/* What the name step reads, and what is between the programs and the inspector. A cache line for each writer; whether
 * the step is taken at all stands in struct control, which is read anyway. */
struct hold_control {
	/* daemon */
	__u32 unused_switch;  /* was names_active */
	__u32 closed;	      /* what can't be held is dropped, not passed */
	__u32 tap_ifindex[2]; /* by enum direction: where its packets wait; 0: nowhere */
	__u64 flow_key0;      /* made once with this map: key of young_flows, held_marks, overlay_names */
	__u64 flow_key1;
	__u32 overlay_names; /* entries there; 0: it isn't asked */
	__u32 unused[7];
	/* programs */
	__u64 held_total;
	__u64 unused_too[7];
	/* inspector */
	__u64 heartbeat_ns; /* boot clock; stale after HEARTBEAT_STALE_MS */
	__u64 released_total;
	__u32 live; /* flows with an entry, as it knows */
	__u32 unused_three[11];
};

/* A client that has sent its SYN: tag (24 bits), clock of 4 s (8 bits), sequence number of its first byte. 0: empty. */
struct young_line {
	__u64 slot[8]; /* YOUNG_SLOTS */
};

/* Both ends of a flow, the lower address (then port) first. */
struct flow_key {
	struct address low;
	struct address high;
	__u16 low_port;
	__u16 high_port;
	__u8 protocol;
	__u8 unused[3];
};

struct held_flow {
	__u32 slot;
	__u32 generation;
};

/* Counters by enum direction; both wrap. `held` is raised before the redirect to the TAP, `released` when the packet
 * has left it: after write() has returned, or refused. Equal: nothing of that direction is inside. */
struct hold_slot {
	__u32 state; /* enum hold_state */
	__u32 generation;
	__u32 held[2];
	__u32 released[2];
	__u64 until_ns; /* boot clock; of a refused flow */
	__u64 born_ns;
	__u32 client_direction; /* enum direction */
	__u32 reason;		/* enum reason, of a refused flow */
	__u32 start;		/* TCP: sequence number of the client's first byte */
	__u32 start_known;
	__u32 mark; /* its element of held_marks */
	__u32 unused;
};

/* Per copy, flipped with the base. See name_filter.rs and name_hash.rs of the inspector. */
struct name_meta {
	__u64 key0; /* of the names' hash: another pair for each snapshot */
	__u64 key1;
	__u64 filter_seed;
	__u32 segment_length;
	__u32 segment_length_mask;
	__u32 segment_count_length;
	__u32 entries;	     /* 0: no name is listed */
	__u64 public_ech[8]; /* PUBLIC_ECH_MAX: keys of whole names (tagged); 0: none */
};

/* What was read last on this CPU. */
struct name_read {
	__u64 key;	  /* of the whole name (tagged), under name_meta's keys */
	__u32 answer;	  /* enum name_answer */
	__u32 protocol;	  /* enum name_protocol */
	__u32 name_class; /* enum name_class */
	__u32 at;	  /* of the name in the window */
	__u32 length;
	__u32 labels; /* that its message counts; 0: it doesn't */
	__u32 ech;    /* encrypted_client_hello was present */
	__u32 unused;
	__u64 zero; /* a number that the verifier doesn't know */
};

struct name_window {
	struct name_read read;
	__u8 bytes[4104]; /* NAME_WINDOW_BYTES, and a word that begins at the last of them */
};
