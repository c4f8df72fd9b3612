/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a frame to a packet, or a drop reason. No map, no verdict.
 *
 * A cursor in bytes from the frame's start: each step checks that its header is there, moves the cursor, and says what
 * comes next. Two bounds are kept apart. `limit` is where the bytes end that may belong to the packet (frame, PPPoE):
 * a header past it contradicts a length and is malformed. `end` is where the linear part of the buffer ends: a header
 * past that one is only out of reach, and the spine pulls it in and parses again.
 *
 * Plain Ethernet with IPv4, or with IPv6 without extension headers, is parsed inline. Everything with a loop stands in
 * global functions: the verifier walks each once, knowing nothing of its caller; inlined, the paths multiply past its
 * limit. A spine defines `context` and frame_of(context *) before it includes this file.
 * Rules: RFC 791, 8200 (headers), 4302 (AH), 2516 (PPPoE), 3032 (MPLS), IEEE 802.1Q.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"

/* EtherTypes in host order; IP protocol numbers are IPPROTO_… and never compared with these. */
enum ether_type {
	ETHER_IPV4 = 0x0800,
	ETHER_IPV6 = 0x86dd,
	ETHER_VLAN = 0x8100,
	ETHER_QINQ = 0x88a8,
	ETHER_QINQ_OLD = 0x9100,
	ETHER_PPPOE_SESSION = 0x8864,
	ETHER_MPLS = 0x8847,
	ETHER_MPLS_MULTICAST = 0x8848,
};

enum ppp_protocol {
	PPP_IPV4 = 0x0021,
	PPP_IPV6 = 0x0057,
};

enum fragment_part {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST,
	FRAGMENT_LATER,
};

struct frame {
	void *data;
	void *end;    /* of the linear part */
	__u32 length; /* of the whole frame */
	__u32 super;  /* several wire packets in one buffer */
};

static __always_inline struct frame frame_of(context *ctx);

/* Addresses as two words in host order, IPv4 as ::ffff:a.b.c.d: the family stands in the value. */
struct packet {
	__u64 source_high;
	__u64 source_low;
	__u64 destination_high;
	__u64 destination_low;
	__u32 identification;
	__u32 facts; /* bit n: enum fact n */
	__u16 source_port;
	__u16 destination_port;
	__u16 vlan;
	__u8 ip_version; /* 0: not IP */
	__u8 protocol;
	__u8 ttl;
	__u8 fragment; /* enum fragment_part */
	__u8 jumbo;    /* IPv6 without a payload length (RFC 2675, BIG TCP) */
	__u8 labelled; /* stood below MPLS labels, which don't say what they carry */
	/* the cursor, and what stands there */
	__u64 at;
	__u64 limit;
	__u32 ether_type; /* enum ether_type */
	__u32 unused_too;
};

/* No chain of headers within the limits of abi.h is longer: 14 + 12 + 8 + 32 + 40 + 8 × 2 056. The verifier wants a
 * bound where a cursor comes back from memory. */
#define CURSOR_MAX 0x7fff

/* What a step answers: go on, or one of these, or a drop reason (> 0). */
enum step {
	STEP_ON = 0,
	STEP_DONE = -1,		/* all is said of this packet */
	STEP_OUT_OF_REACH = -2, /* the header lies behind the linear part */
};

#define FACT_BIT(fact) (1u << (fact))

static __always_inline void *header_at(const struct frame *f, __u64 at, __u64 size)
{
	void *header;

	if (at > CURSOR_MAX)
		return NULL;
	header = f->data + at;
	return header + size > f->end ? NULL : header;
}

static __always_inline bool is_vlan(__u32 ether_type)
{
	return ether_type == ETHER_VLAN || ether_type == ETHER_QINQ || ether_type == ETHER_QINQ_OLD;
}

struct vlan_tag {
	__be16 tci_be;
	__be16 ether_type_be;
};

/* 802.1Q and QinQ tags in the frame; one stripped by the port stands in the buffer's metadata instead. */
static __always_inline int parse_vlan(const struct frame *f, struct packet *p)
{
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag;

		barrier(); /* reload the cursor: to the verifier each turn then looks like the last */
		if (!is_vlan(p->ether_type))
			return STEP_ON;
		if (p->at + sizeof(*tag) > p->limit)
			return DROP_MALFORMED_ETHERNET;
		tag = header_at(f, p->at, sizeof(*tag));
		if (!tag)
			return STEP_OUT_OF_REACH;
		if (!p->vlan)
			p->vlan = bpf_ntohs(tag->tci_be) & 0x0fff;
		p->ether_type = bpf_ntohs(tag->ether_type_be);
		p->at += sizeof(*tag);
	}
	if (!is_vlan(p->ether_type))
		return STEP_ON;
	p->facts |= FACT_BIT(FACT_OPAQUE);
	return STEP_DONE;
}

struct pppoe_header {
	__u8 version_type;
	__u8 code;
	__be16 session_be;
	__be16 length_be; /* of PPP protocol and payload */
	__be16 protocol_be;
};

static __always_inline int parse_pppoe(const struct frame *f, struct packet *p)
{
	struct pppoe_header *pppoe;
	__u32 length, protocol;

	if (p->at + sizeof(*pppoe) > p->limit)
		return DROP_MALFORMED_PPPOE;
	pppoe = header_at(f, p->at, sizeof(*pppoe));
	if (!pppoe)
		return STEP_OUT_OF_REACH;
	length = bpf_ntohs(pppoe->length_be);
	/* a super-packet carries the length of one segment */
	if (length < 2 || (!f->super && p->at + 6 + length > p->limit))
		return DROP_MALFORMED_PPPOE;
	if (!f->super)
		p->limit = p->at + 6 + length;
	p->at += sizeof(*pppoe);
	protocol = bpf_ntohs(pppoe->protocol_be);
	p->ether_type = protocol == PPP_IPV4 ? ETHER_IPV4 : protocol == PPP_IPV6 ? ETHER_IPV6 : 0;
	return STEP_ON;
}

/* Labels down to the bottom of the stack; what is below says by its first nibble whether it is IP (RFC 4928 §3). */
static __always_inline int parse_mpls(const struct frame *f, struct packet *p)
{
	__u8 *octet;

	for (int i = 0; i < MPLS_LABELS_MAX; i++) {
		barrier();
		if (p->at + 4 > p->limit)
			return DROP_MALFORMED_MPLS;
		octet = header_at(f, p->at, 4);
		if (!octet)
			return STEP_OUT_OF_REACH;
		p->at += 4;
		if (octet[2] & 1)
			goto bottom;
	}
	p->facts |= FACT_BIT(FACT_OPAQUE);
	return STEP_DONE;
bottom:
	p->labelled = 1;
	if (p->at + 1 <= p->limit) {
		octet = header_at(f, p->at, 1);
		if (!octet)
			return STEP_OUT_OF_REACH;
		if (octet[0] >> 4 == 4) {
			p->ether_type = ETHER_IPV4;
			return STEP_ON;
		}
		if (octet[0] >> 4 == 6) {
			p->ether_type = ETHER_IPV6;
			return STEP_ON;
		}
	}
	p->facts |= FACT_BIT(FACT_OPAQUE);
	return STEP_DONE;
}

/* What stands between Ethernet and IP: tags, then one of PPPoE and MPLS. */
__noinline int parse_encapsulation(context *ctx, struct packet *p)
{
	struct frame f = frame_of(ctx);
	int step;

	if (!p)
		return STEP_OUT_OF_REACH;
	step = parse_vlan(&f, p);
	if (step)
		return step;
	if (p->ether_type == ETHER_PPPOE_SESSION)
		return parse_pppoe(&f, p);
	if (p->ether_type == ETHER_MPLS || p->ether_type == ETHER_MPLS_MULTICAST)
		return parse_mpls(&f, p);
	return STEP_ON;
}

static __always_inline int not_ip(struct packet *p)
{
	p->facts |= FACT_BIT(FACT_NOT_IP);
	return STEP_DONE;
}

/* Fewer bytes than an IP header: malformed, unless the first nibble says that it is another thing. */
static __always_inline int short_ip(const struct frame *f, struct packet *p, __u32 version, int malformed)
{
	__u8 *octet;

	if (p->at >= p->limit)
		return malformed;
	octet = header_at(f, p->at, 1);
	if (!octet)
		return STEP_OUT_OF_REACH;
	return octet[0] >> 4 == version ? malformed : not_ip(p);
}

/* `offset` and `length` in bytes; ends the packet's transport when it is a later part. */
static __always_inline int parse_fragment(struct packet *p, __u32 offset, bool more, __u32 identification)
{
	__u64 length = p->limit - p->at;

	if (!offset && !more)
		return STEP_ON; /* RFC 6946: an atomic fragment is a packet */
	p->facts |= FACT_BIT(FACT_FRAGMENT);
	if (offset + length > 65535 || (more && length % 8))
		return DROP_MALFORMED_FRAGMENT;
	p->fragment = offset ? FRAGMENT_LATER : FRAGMENT_FIRST;
	p->identification = identification;
	return offset ? STEP_DONE : STEP_ON;
}

#define MAPPED_V4 0x0000ffff00000000ull

static __always_inline int parse_ipv4(const struct frame *f, struct packet *p)
{
	struct iphdr *ip;
	__u32 header, total, fragment;

	if (p->at + sizeof(*ip) > p->limit)
		return short_ip(f, p, 4, DROP_MALFORMED_IPV4);
	ip = header_at(f, p->at, sizeof(*ip));
	if (!ip)
		return STEP_OUT_OF_REACH;
	if (ip->version != 4)
		return not_ip(p);
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (!total && f->super)
		total = p->limit - p->at; /* BIG TCP */
	if (header < sizeof(*ip) || total < header || p->at + total > p->limit)
		return DROP_MALFORMED_IPV4;
	p->ip_version = 4;
	p->protocol = ip->protocol;
	p->ttl = ip->ttl;
	p->source_low = MAPPED_V4 | bpf_ntohl(ip->saddr);
	p->destination_low = MAPPED_V4 | bpf_ntohl(ip->daddr);
	p->limit = p->at + total;
	p->at += header;
	fragment = bpf_ntohs(ip->frag_off);
	if (!(fragment & 0x3fff))
		return STEP_ON;
	return parse_fragment(p, (fragment & 0x1fff) * 8, fragment & 0x2000, bpf_ntohs(ip->id));
}

static __always_inline bool is_extension(__u32 next)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case 135: /* Mobility */
	case 139: /* HIP */
	case 140: /* Shim6 */
		return true;
	}
	return false;
}

struct extension {
	__u8 next;
	__u8 length;
	__be16 offset_be; /* fragment header: offset, reserved, more */
	__be32 identification_be;
};

/* IPv6 extension headers, up to EXTENSION_HEADERS_MAX. */
__noinline int parse_extensions(context *ctx, struct packet *p)
{
	struct frame f = frame_of(ctx);
	struct extension *e;
	__u32 kind, offset;
	__u64 size;
	int step;

	if (!p)
		return STEP_OUT_OF_REACH;
	for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		barrier();
		kind = p->protocol;
		if (!is_extension(kind))
			return STEP_ON;
		if (p->at + sizeof(*e) > p->limit)
			return DROP_MALFORMED_IPV6;
		e = header_at(&f, p->at, sizeof(*e));
		if (!e)
			return STEP_OUT_OF_REACH;
		size = kind == IPPROTO_FRAGMENT ? 8 : kind == IPPROTO_AH ? (e->length + 2) * 4 : (e->length + 1) * 8;
		if (p->at + size > p->limit)
			return DROP_MALFORMED_IPV6;
		p->protocol = e->next;
		p->at += size;
		if (kind == IPPROTO_FRAGMENT && !p->fragment) {
			offset = bpf_ntohs(e->offset_be);
			step = parse_fragment(p, offset & 0xfff8, offset & 1, bpf_ntohl(e->identification_be));
			if (step)
				return step;
		}
	}
	if (!is_extension(p->protocol))
		return STEP_ON;
	p->facts |= FACT_BIT(FACT_EXTENSION_LIMIT);
	return STEP_DONE;
}

static __always_inline __u64 word_of(const __be32 *pair)
{
	return (__u64)bpf_ntohl(pair[0]) << 32 | bpf_ntohl(pair[1]);
}

static __always_inline int parse_ipv6(context *ctx, const struct frame *f, struct packet *p)
{
	struct ipv6hdr *ip;
	__u32 length;

	if (p->at + sizeof(*ip) > p->limit)
		return short_ip(f, p, 6, DROP_MALFORMED_IPV6);
	ip = header_at(f, p->at, sizeof(*ip));
	if (!ip)
		return STEP_OUT_OF_REACH;
	if (ip->version != 6)
		return not_ip(p);
	length = bpf_ntohs(ip->payload_len);
	if (!length && (ip->nexthdr == IPPROTO_HOPOPTS || f->super)) {
		length = p->limit - p->at - sizeof(*ip);
		p->jumbo = 1;
	}
	if (p->at + sizeof(*ip) + length > p->limit)
		return DROP_MALFORMED_IPV6;
	p->ip_version = 6;
	p->protocol = ip->nexthdr;
	p->ttl = ip->hop_limit;
	p->source_high = word_of(ip->saddr.in6_u.u6_addr32);
	p->source_low = word_of(ip->saddr.in6_u.u6_addr32 + 2);
	p->destination_high = word_of(ip->daddr.in6_u.u6_addr32);
	p->destination_low = word_of(ip->daddr.in6_u.u6_addr32 + 2);
	p->at += sizeof(*ip);
	p->limit = p->at + length;
	return is_extension(p->protocol) ? parse_extensions(ctx, p) : STEP_ON;
}

struct transport_start {
	__be16 source_be;
	__be16 destination_be;
	__be16 length_be; /* UDP */
};

/* A header that is not all there: natural in a first fragment, a contradiction in a packet. */
static __always_inline int short_transport(struct packet *p, int malformed)
{
	if (p->fragment != FRAGMENT_FIRST)
		return malformed;
	p->facts |= FACT_BIT(FACT_FRAGMENT_TINY);
	return STEP_DONE;
}

static __always_inline int parse_tcp(const struct frame *f, struct packet *p)
{
	__u64 length = p->limit - p->at;
	struct transport_start *start;
	__u8 *octet;
	__u32 header;

	if (length < 20)
		return short_transport(p, DROP_MALFORMED_TCP);
	octet = header_at(f, p->at, 20);
	if (!octet)
		return STEP_OUT_OF_REACH;
	header = (octet[12] >> 4) * 4;
	if (header < 20)
		return DROP_MALFORMED_TCP;
	if (header > length)
		return short_transport(p, DROP_MALFORMED_TCP);
	start = (void *)octet;
	p->source_port = bpf_ntohs(start->source_be);
	p->destination_port = bpf_ntohs(start->destination_be);
	return STEP_DONE;
}

static __always_inline bool is_tunnel_port(__u32 port)
{
	return port == 4789 || port == 6081 || port == 2152; /* VXLAN, GENEVE, GTP-U */
}

static __always_inline int parse_udp(const struct frame *f, struct packet *p)
{
	__u64 length = p->limit - p->at;
	struct transport_start *start;
	__u32 udp;

	if (length < 8)
		return short_transport(p, DROP_MALFORMED_UDP);
	start = header_at(f, p->at, 8);
	if (!start)
		return STEP_OUT_OF_REACH;
	udp = bpf_ntohs(start->length_be);
	if (!udp && p->jumbo)
		udp = 8; /* RFC 2675 §4 */
	if (udp < 8 || (udp > length && p->fragment == FRAGMENT_NONE))
		return DROP_MALFORMED_UDP;
	p->source_port = bpf_ntohs(start->source_be);
	p->destination_port = bpf_ntohs(start->destination_be);
	if (is_tunnel_port(p->destination_port))
		p->facts |= FACT_BIT(FACT_TUNNEL);
	return STEP_DONE;
}

static __always_inline int parse_transport(const struct frame *f, struct packet *p)
{
	__u64 length = p->limit - p->at;

	switch (p->protocol) {
	case IPPROTO_TCP:
		return parse_tcp(f, p);
	case IPPROTO_UDP:
		return parse_udp(f, p);
	case IPPROTO_ICMP:
		if (p->ip_version == 4 && length < 8)
			return short_transport(p, DROP_MALFORMED_ICMP);
		return STEP_DONE;
	case IPPROTO_ICMPV6:
		if (p->ip_version == 6 && length < 4)
			return short_transport(p, DROP_MALFORMED_ICMP);
		return STEP_DONE;
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
	case IPPROTO_ESP:
	case 97:  /* EtherIP */
	case 115: /* L2TPv3 */
	case 137: /* MPLS-in-IP */
		p->facts |= FACT_BIT(FACT_TUNNEL);
	}
	return STEP_DONE;
}

static __always_inline int parse_network(context *ctx, const struct frame *f, struct packet *p)
{
	if (p->ether_type == ETHER_IPV4)
		return parse_ipv4(f, p);
	if (p->ether_type == ETHER_IPV6)
		return parse_ipv6(ctx, f, p);
	return not_ip(p);
}

/* Below labels the first nibble is a guess: Ethernet in a pseudowire may begin with a MAC address 4x:… or 6x:…
 * (RFC 4928 §3). What then isn't IP by its lengths never was. */
static __always_inline int not_ip_after_all(struct packet *p)
{
	p->ip_version = 0;
	p->fragment = FRAGMENT_NONE;
	p->facts |= FACT_BIT(FACT_OPAQUE);
	return STEP_DONE;
}

/* The same for a packet behind tags or labels, whose cursor the verifier can't bound as well. */
__noinline int parse_encapsulated(context *ctx, struct packet *p)
{
	struct frame f = frame_of(ctx);
	int step;

	if (!p)
		return STEP_OUT_OF_REACH;
	step = parse_encapsulation(ctx, p);
	if (step)
		return step;
	step = parse_network(ctx, &f, p);
	if (p->labelled && (step == DROP_MALFORMED_IPV4 || step == DROP_MALFORMED_IPV6))
		return not_ip_after_all(p);
	return step;
}

/* Fills a zeroed packet. Answers STEP_DONE, STEP_OUT_OF_REACH, or a drop reason. */
static __always_inline int parse(context *ctx, const struct frame *f, struct packet *p)
{
	struct ethhdr *ethernet = header_at(f, 0, sizeof(*ethernet));
	int step;

	if (!ethernet)
		return f->length < sizeof(*ethernet) ? DROP_MALFORMED_ETHERNET : STEP_OUT_OF_REACH;
	p->at = sizeof(*ethernet);
	p->limit = f->length;
	p->ether_type = bpf_ntohs(ethernet->h_proto);
	if (p->ether_type == ETHER_IPV4 || p->ether_type == ETHER_IPV6)
		step = parse_network(ctx, f, p);
	else
		step = parse_encapsulated(ctx, p);
	return step ? step : parse_transport(f, p);
}
