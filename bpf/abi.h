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
	LANE_CDN = 2, /* counted from the version on that brings shared ranges */
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
	FACT_FRAGMENT_TINY = 7, /* a first fragment that ends inside its TCP, UDP or ICMP header */
	FACT_BYPASSED = 8,	/* the gateway was a plain wire */
	FACT_OBSERVED = 9,	/* would have been dropped, but for --observe */
	FACT_SUPER_PACKET = 10, /* GSO or GRO: several wire packets in one buffer */
	FACT_PROBE = 11,	/* a canary or explain --live: counted here and nowhere else */
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
	V4_FRONT_LINES = 1 << 18,      /* 64 /24s a line of 16 bytes: 4 MB a copy */
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
};

/* Cell of a /24 in a compiled base: listed whole, or a bitmap of it. In the kernel each of them has a bitmap. */
enum cell {
	CELL_NOTHING = 0,
	CELL_LISTED = 1,
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
};

/* The one word that publishes a base, and what a person may turn at once. Written by the daemon only. */
struct control {
	__u32 epoch;	       /* copy = epoch & 1 */
	__u32 probe_nonce;     /* skb->mark, or the first word of XDP metadata, of a probe; 0: no probes */
	__u64 bypass_until_ns; /* boot clock; 0: no bypass. Ends without the daemon */
	__u64 heartbeat_ns;    /* boot clock: the daemon's last turn, for whoever looks from outside */
};

/* 64 /24s: which of them the base says anything about, and how many such /24s stand before these. So the bitmap of a
 * /24 is number rank + (set bits below its own), and a clean address costs one read. */
struct front_line {
	__u64 present;
	__u32 rank;
	__u32 unused;
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
	__u8 listed; /* 0: an exception, 1: listed */
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
