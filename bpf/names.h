/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reads the name that stands whole in one buffer, and asks the filter of listed names about it. What it can't read for
 * sure is "not here": the inspector reads it then. So it never says anything else than the inspector's own readers
 * (engine/inspector), or says nothing; a test holds the two together.
 *
 * No payload byte is in the linear part of a buffer: one copy to a window of this CPU, then plain loops, which the
 * kernel bounds (may_goto, Linux 6.9; hold.h compiled with NAMES_HELD calls nothing here). A place in
 * the window is masked at each use, so that to the verifier each turn of a loop looks like the last. hold.h calls it.
 */
#pragma once

#include "tables.h"

/* Never the whole of a larger window: three segments of a hello, post-quantum or with a large ticket. */
#define NAME_COPY_MAX 3072
#define NAME_BYTES_MAX 253
#define LABEL_BYTES_MAX 63
#define METHOD_BYTES_MAX 24
#define TAGGED 0x9e3779b97f4a7c15ull /* TAG of name_hash.rs */

#if __clang_major__ >= 19
#define MAY_GOTO "may_goto %l[stop]"
#else /* the same instruction, which older assemblers have no word for */
#define MAY_GOTO "1: .byte 0xe5, 0; .long ((%l[stop] - 1b - 8) / 8) & 0xffff; .short 0"
#endif

/* True until the kernel has had enough of a loop. */
#define MAY_GO_ON                                                                                                      \
	({                                                                                                             \
		__label__ stop, go_on;                                                                                 \
		bool more = true;                                                                                      \
		asm volatile goto(MAY_GOTO : : : : stop);                                                              \
		goto go_on;                                                                                            \
	stop:                                                                                                          \
		more = false;                                                                                          \
	go_on:;                                                                                                        \
		more;                                                                                                  \
	})

/* A byte of a host name in lower case; 0: no byte of one. */
static const __u8 canonical[256] = {
	['*'] = '*', ['-'] = '-', ['.'] = '.', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3',
	['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'a', ['B'] = 'b',
	['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j',
	['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
	['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
	['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h',
	['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',
	['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x',
	['y'] = 'y', ['z'] = 'z',
};

static __always_inline __u8 *place_in(struct name_window *w, __u64 at)
{
	/* or the compiler, which sees that it is masked already, leaves the mask out, and the verifier misses it */
	barrier_var(at);
	at &= NAME_WINDOW_BYTES - 1;
	barrier_var(at);
	return w->bytes + at;
}

/* A place of which the verifier knows no more than that it is one: a bound that grows is another state a turn. */
static __always_inline __u64 forgotten(struct name_window *w, __u64 at)
{
	return (at + w->read.zero) & (NAME_WINDOW_BYTES - 1);
}

static __always_inline bool is_digit(__u8 byte)
{
	return (__u8)(byte - '0') < 10;
}

#define BYTE(at) (*place_in(w, at))
#define PAIR(at) ((__u32)BYTE(at) << 8 | BYTE((at) + 1))

/* ---- the filter ---- */

/* Steps of xorf's binary fuse filter; name_filter.rs builds it. */
static __always_inline __u64 fuse_mix(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static __always_inline __u64 fingerprint_at(__u32 first, __u32 place)
{
	__u32 n = first + place / 4;
	__u64 *word = bpf_map_lookup_elem(&name_filter, &n);

	return word ? *word >> (place & 3) * 16 : 0;
}

/* 1 or 0, without a branch: a guess at one would wait for memory. */
static __always_inline __u64 in_filter(const struct name_meta *meta, __u32 copy, __u64 key)
{
	__u64 hash = fuse_mix(key + meta->filter_seed), print = hash ^ hash >> 32;
	/* the high half of hash × segment_count_length, which has 32 bits */
	__u64 high = (hash >> 32) * meta->segment_count_length;
	__u64 low = (hash & 0xffffffff) * meta->segment_count_length >> 32;
	__u32 first = copy * settings.name_words, place = (high + low) >> 32;

	print ^= fingerprint_at(first, place);
	place += meta->segment_length;
	print ^= fingerprint_at(first, place ^ ((__u32)(hash >> 18) & meta->segment_length_mask));
	place += meta->segment_length;
	print ^= fingerprint_at(first, place ^ ((__u32)hash & meta->segment_length_mask));
	return ((print & 0xffff) - 1) >> 63;
}

static __always_inline __u64 name_step(__u64 state, __u8 byte, __u64 multiplier)
{
	return ((state << 5 | state >> 59) ^ byte) * multiplier;
}

static __always_inline bool in_overlay(__u64 key)
{
	return bpf_map_lookup_elem(&overlay_names, &key);
}

/* Everything below works on the window of this CPU, and each on what stands there alone: global functions, which the
 * verifier walks once, knowing nothing of their caller. */
static __always_inline struct name_window *own_window(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&name_window, &zero);
}

/* Keys stand behind the copied bytes, by the dots in their suffix, of which there are 126 at most. */
#define KEYS_AT (NAME_COPY_MAX + 8)
#define KEYS_MAX 128

static __always_inline __u64 *key_place(struct name_window *w, __u64 dots)
{
	dots &= KEYS_MAX - 1;
	barrier_var(dots);
	return (__u64 *)(w->bytes + KEYS_AT) + dots;
}

/* Is one of the keys from `first` to `last` in the filter? All are asked, whatever the first says: the memory of ten
 * million keys is cold, and so they wait for it together. */
static __always_inline bool any_in_filter(struct name_window *w, const struct name_meta *meta, __u32 copy, __u64 first,
					  __u64 last)
{
	__u64 at = forgotten(w, first) & (KEYS_MAX - 1), end = (last + 1) & (KEYS_MAX - 1), listed = 0;

	for (; at != end && MAY_GO_ON; at = (at + 1) & (KEYS_MAX - 1))
		listed |= in_filter(meta, copy, *key_place(w, at));
	return listed || at != end;
}

/* The name from its end, once: each label's start gives the key of what follows it. enum name_answer. */
__noinline int ask_name(__u32 copy)
{
	__u64 start, length, at, label_end, labels, state, multiplier, key;
	__u64 overlay_state, overlay_multiplier;
	struct name_meta *meta = bpf_map_lookup_elem(&name_meta, &copy);
	struct name_window *w = own_window();
	struct hold_control *hold;
	__u32 zero = 0, entries, overlay;
	__u8 byte, next = 0; /* the one behind it */

	hold = bpf_map_lookup_elem(&hold_control, &zero);
	if (!meta || !hold || !w)
		return NAME_NOT_HERE;
	start = w->read.at & (NAME_WINDOW_BYTES - 1);
	length = w->read.length;
	if (!length || length > NAME_BYTES_MAX)
		return NAME_NOT_HERE;
	labels = w->read.zero; /* a counter that the verifier knew would be another state a turn */
	entries = meta->entries;
	overlay = hold->overlay_names;
	state = meta->key0;
	multiplier = meta->key1 | 1;
	overlay_state = hold->flow_key0;
	overlay_multiplier = hold->flow_key1 | 1;
	at = (start + length) & (NAME_WINDOW_BYTES - 1);
	label_end = at;
	while (at != start && MAY_GO_ON) {
		at = (at - 1) & (NAME_WINDOW_BYTES - 1);
		byte = canonical[BYTE(at)];
		if (byte == '.') {
			if (label_end - at - 2 >= LABEL_BYTES_MAX) /* empty wraps */
				return NAME_NOT_HERE;
			label_end = at;
			if (!labels && is_digit(next))
				return NAME_NOT_HERE; /* an address, perhaps */
			if (labels) {
				*key_place(w, labels) = v6_mix(state);
				if (overlay && in_overlay(v6_mix(overlay_state)))
					return NAME_LISTED;
			}
			labels = forgotten(w, labels + 1);
		} else if (!byte) {
			return NAME_NOT_HERE;
		}
		next = byte;
		state = name_step(state, byte, multiplier);
		if (overlay)
			overlay_state = name_step(overlay_state, byte, overlay_multiplier);
	}
	if (at != start || label_end - at - 1 >= LABEL_BYTES_MAX || (!labels && is_digit(next)) ||
	    (w->read.labels && w->read.labels != labels + 1))
		return NAME_NOT_HERE;
	key = v6_mix(state) ^ TAGGED;
	w->read.key = key;
	*key_place(w, labels) = key;
	if (entries && any_in_filter(w, meta, copy, labels != 0, labels))
		return NAME_LISTED;
	if (overlay && in_overlay(v6_mix(overlay_state) ^ TAGGED))
		return NAME_LISTED;
	if (w->read.ech) {
		for (int i = 0; i < PUBLIC_ECH_MAX; i++)
			if (meta->public_ech[i] == key)
				w->read.name_class = CLASS_PUBLIC_ECH;
	}
	return NAME_CLEAN;
}

/* ---- DNS: RFC 1035 ---- */

/* One question of a query, its labels turned to text in place. Answers NAME_CLEAN for "found". */
__noinline int find_dns(__u32 length)
{
	struct name_window *w = own_window();
	__u64 at = 12, size;

	if (!w || length > NAME_COPY_MAX)
		return NAME_NOT_HERE;
	w->read.protocol = NAME_DNS;
	if (length < 17)
		return NAME_NOT_HERE;
	if (BYTE(2) & 0x80) {
		w->read.protocol = NAME_OTHER;
		return NAME_NONE; /* an answer */
	}
	if (BYTE(2) & 0x78 || PAIR(4) != 1)
		return NAME_NOT_HERE;
	while (MAY_GO_ON) {
		size = BYTE(at);
		if (!size)
			break;
		if (size > LABEL_BYTES_MAX || at > 12 + NAME_BYTES_MAX)
			return NAME_NOT_HERE;
		BYTE(at) = '.';
		at = (at + 1 + size) & (NAME_WINDOW_BYTES - 1);
		w->read.labels++;
	}
	if (at + 5 > length || BYTE(at) || at < 14)
		return NAME_NOT_HERE;
	w->read.at = 13;
	w->read.length = at - 13;
	return NAME_CLEAN;
}

/* ---- TLS: RFC 8446 section 4.1.2, RFC 6066 section 3 ---- */

/* The one host_name of a server_name extension of `size` bytes. */
static __always_inline bool find_host_name(struct name_window *w, __u64 at, __u64 size)
{
	if (w->read.at || size < 6 || PAIR(at) != size - 2 || BYTE(at + 2) || PAIR(at + 3) != size - 5)
		return false;
	w->read.at = at + 5;
	w->read.length = size - 5;
	if (BYTE(at + size - 1) == '.')
		w->read.length--;
	return true;
}

#define EXTENSION_SERVER_NAME 0
#define EXTENSION_ENCRYPTED_HELLO 0xfe0d

/* Extensions up to `end`, all of them: a second server_name would be believed by some. */
static __always_inline int find_extensions(struct name_window *w, __u64 at, __u64 end)
{
	__u64 kind, size;

	while (at != end && MAY_GO_ON) {
		if (at + 4 > end)
			return NAME_NOT_HERE;
		kind = PAIR(at);
		size = PAIR(at + 2);
		at += 4;
		if (at + size > end)
			return NAME_NOT_HERE;
		if (kind == EXTENSION_SERVER_NAME && !find_host_name(w, at, size))
			return NAME_NOT_HERE;
		if (kind == EXTENSION_ENCRYPTED_HELLO)
			w->read.ech = 1;
		at = (at + size) & (NAME_WINDOW_BYTES - 1);
	}
	if (at != end)
		return NAME_NOT_HERE;
	return w->read.at ? NAME_CLEAN : NAME_NONE;
}

/* Content types of records that a client may begin with. */
#define TLS_CHANGE_CIPHER_SPEC 20
#define TLS_ALERT 21
#define TLS_HANDSHAKE 22

/* A ClientHello that is one record and one handshake message, and all in the window. */
__noinline int find_hello(__u32 length)
{
	struct name_window *w = own_window();
	__u64 at = 43, end, size;

	if (!w || length > NAME_COPY_MAX)
		return NAME_NOT_HERE;
	w->read.protocol = NAME_TLS;
	end = PAIR(3) + 5;
	if (length < 50 || end > length || BYTE(1) != 3 || BYTE(2) > 4 || BYTE(5) != 1 || BYTE(6) ||
	    PAIR(7) + 9 != end || BYTE(9) != 3 || BYTE(10) > 4)
		return NAME_NOT_HERE;
	end &= NAME_WINDOW_BYTES - 1;
	size = BYTE(at); /* session id */
	at += 1 + size;
	if (size > 32 || at + 2 > end)
		return NAME_NOT_HERE;
	size = PAIR(at); /* cipher suites */
	at += 2 + size;
	if (size < 2 || size & 1 || at + 1 > end)
		return NAME_NOT_HERE;
	size = BYTE(at); /* compression methods */
	at += 1 + size;
	if (!size || at + 2 > end)
		return NAME_NOT_HERE;
	if (PAIR(at) + at + 2 != end)
		return NAME_NOT_HERE;
	return find_extensions(w, (at + 2) & (NAME_WINDOW_BYTES - 1), end);
}

/* ---- HTTP/1: RFC 9112 ---- */

/* Past the method, to the first byte of the target. 0: not here. NAME_WINDOW_BYTES: no request. */
static __always_inline __u64 find_target(struct name_window *w, __u64 length)
{
	__u64 at = 0, usual = 0;
	__u8 byte;

	while (at < METHOD_BYTES_MAX && at + 1 < length && MAY_GO_ON) {
		byte = BYTE(at);
		if (byte == ' ')
			return usual && BYTE(at + 1) == '/' ? at + 1 : 0;
		if (!canonical[byte]) {
			/* odd, and yet a byte of a method; or an empty line before it; or SSL 2 */
			if ((byte > ' ' && byte < 0x7f) || byte == '\t' ||
			    ((!at || usual) && (byte == '\r' || byte == '\n')) || (!at && byte & 0x80))
				return 0;
			return NAME_WINDOW_BYTES;
		}
		usual = (__u8)(byte - 'A') < 26 ? !at || usual : usual && byte == '-';
		at = (at + 1) & (NAME_WINDOW_BYTES - 1);
	}
	return 0;
}

/* Does a request's first line end so, in front of the CR at `at`? */
static __always_inline bool ends_as_request(struct name_window *w, __u64 at)
{
	return BYTE(at - 9) == ' ' && BYTE(at - 8) == 'H' && BYTE(at - 7) == 'T' && BYTE(at - 6) == 'T' &&
	       BYTE(at - 5) == 'P' && BYTE(at - 4) == '/' && BYTE(at - 3) == '1' && BYTE(at - 2) == '.' &&
	       (BYTE(at - 1) & 0xfe) == '0';
}

static __always_inline bool ends_line(struct name_window *w, __u64 at)
{
	return BYTE(at) == '\r' && BYTE(at + 1) == '\n';
}

/* The next byte below a space from `at` on: eight at a time, the lowest found by counting the bits below it. */
static __always_inline __u64 next_control(struct name_window *w, __u64 at, __u64 length)
{
	__u64 word, found;

	while (at < length && MAY_GO_ON) {
		word = *(volatile __u64 *)place_in(w, at); /* unaligned; memcpy would take it byte by byte */
		found = (word - 0x2020202020202020ull) & ~word & 0x8080808080808080ull;
		if (found)
			return at + set_bits((found - 1) & ~found) / 8;
		at = forgotten(w, at + 8);
	}
	return length;
}

/* Of what stands behind Host and its colon, up to the line's CR: without a space, a port, a dot at the end. */
static __always_inline bool trim_host(struct name_window *w)
{
	__u64 at = w->read.at & (NAME_WINDOW_BYTES - 1), end = w->read.length & (NAME_WINDOW_BYTES - 1), last = end;

	if (BYTE(at) == ' ')
		at++;
	for (int i = 0; i < 6; i++) {
		if (last <= at)
			return false;
		if (!is_digit(BYTE(last - 1)))
			break;
		last--;
	}
	if (last > at && BYTE(last - 1) == ':' && last != end)
		end = last - 1;
	if (end > at && BYTE(end - 1) == '.')
		end--;
	w->read.at = at;
	w->read.length = end - at;
	return end > at;
}

static __always_inline bool is_host_line(struct name_window *w, __u64 at)
{
	return (BYTE(at) | 0x20) == 'h' && (BYTE(at + 1) | 0x20) == 'o' && (BYTE(at + 2) | 0x20) == 's' &&
	       (BYTE(at + 3) | 0x20) == 't' && (BYTE(at + 4) == ':' || BYTE(at + 4) <= ' ');
}

/* A whole head with one Host, or none, and a target in origin form, and nothing behind it, where another request may
 * stand. Lines end with CR LF. */
__noinline int find_request(__u32 length, __u32 whole)
{
	struct name_window *w = own_window();
	__u64 at, line;

	if (!w || length > NAME_COPY_MAX)
		return NAME_NOT_HERE;
	at = find_target(w, length);
	w->read.protocol = NAME_HTTP;
	if (at == NAME_WINDOW_BYTES) {
		w->read.protocol = NAME_OTHER;
		return NAME_NONE;
	}
	if (!at)
		return NAME_NOT_HERE;
	at = next_control(w, forgotten(w, at), length);
	if (at + 3 >= length || !ends_as_request(w, at) || !ends_line(w, at))
		return NAME_NOT_HERE;
	line = forgotten(w, at + 2);
	at = line;
	while (MAY_GO_ON) {
		at = next_control(w, at, length);
		if (at + 1 >= length)
			return NAME_NOT_HERE;
		if (BYTE(at) == '\t' && at != line) {
			at = forgotten(w, at + 1);
			continue;
		}
		if (!ends_line(w, at) || BYTE(line) == ' ')
			return NAME_NOT_HERE; /* or a folded line */
		if (at == line)
			break;
		if (is_host_line(w, line)) {
			if (w->read.at || BYTE(line + 4) != ':')
				return NAME_NOT_HERE;
			w->read.at = line + 5;
			w->read.length = at;
		}
		line = forgotten(w, at + 2);
		at = line;
	}
	if (at != line || at + 2 != whole)
		return NAME_NOT_HERE;
	if (!w->read.at)
		return NAME_NONE;
	return trim_host(w) ? NAME_CLEAN : NAME_NOT_HERE;
}

/* ---- what hold.h calls ---- */

/* The client's first bytes of a TCP flow, or a datagram to port 53. enum name_answer; the window's `read` says more. */
__noinline int read_name(context *skb, __u32 at, __u32 length, __u32 is_dns, __u32 copy)
{
	struct name_window *w = own_window();
	__u64 size = length;
	int answer;

	if (!w)
		return NAME_NOT_HERE;
	w->read = (struct name_read){.protocol = is_dns ? NAME_DNS : NAME_OTHER};
	if (size > NAME_COPY_MAX)
		size = NAME_COPY_MAX;
	barrier_var(size); /* or the compiler drops the lower bound that the verifier asks for */
	if (size < 1 || size > NAME_COPY_MAX || bpf_skb_load_bytes(skb, at, w->bytes, size))
		return NAME_NOT_HERE;
	if (is_dns)
		answer = find_dns(size);
	else if (BYTE(0) == TLS_HANDSHAKE)
		answer = find_hello(size);
	else if (BYTE(0) == TLS_CHANGE_CIPHER_SPEC || BYTE(0) == TLS_ALERT)
		answer = NAME_NOT_HERE; /* a hello may follow */
	else
		answer = find_request(size, length);
	w->read.name_class = answer == NAME_NONE ? CLASS_NONE : CLASS_SEEN;
	if (answer == NAME_CLEAN)
		answer = ask_name(copy);
	w->read.answer = answer;
	return answer;
}
