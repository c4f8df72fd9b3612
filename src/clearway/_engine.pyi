"""Face of the Rust crate in engine/. Closed lists come from bpf/abi.h by way of BTF; a test holds this stub to them.

Addresses cross this border as 16 bytes, big-endian, IPv4 mapped (::ffff:a.b.c.d) with prefix lengths 96 longer.
Clocks are integers in nanoseconds of CLOCK_BOOTTIME. Every call that touches much memory releases the GIL. Objects may
be shared between threads: the base, the overlay and the counters are locked apart, so a grant never waits for a fill.

Raised: KernelRefused, CapacityExceeded, PinsUnusable, BadSnapshotPart of clearway.errors; ValueError for a caller's
mistake (an address that isn't 16 bytes, host bits past a length, a hook that is none, attach() before load()).
Families are kept apart by value: what lies in ::ffff:0:0/96 is IPv4, whichever header it stood in; an IPv6 prefix that
covers that range (::/0) says nothing of IPv4.
"""

from collections.abc import Sequence
from enum import IntEnum
from os import PathLike
from typing import Any

from typing_extensions import Buffer

class Reason(IntEnum):
    NONE = 0
    MALWARE = 1
    PHISHING = 2
    BOTNET_C2 = 3
    EXPLOIT = 4
    SCANNER = 5
    BRUTE_FORCE = 6
    FLOOD = 7
    SPOOFED = 8

class Lane(IntEnum):
    INSPECTED = 0
    GREEN = 1
    CDN = 2

class Verdict(IntEnum):
    FORWARD = 0
    DROP = 1

class Direction(IntEnum):
    OUTBOUND = 0
    INBOUND = 1

class DropReason(IntEnum):
    FORWARDED = 0
    MALFORMED_ETHERNET = 1
    MALFORMED_PPPOE = 2
    MALFORMED_MPLS = 3
    MALFORMED_IPV4 = 4
    MALFORMED_IPV6 = 5
    MALFORMED_FRAGMENT = 6
    MALFORMED_TCP = 7
    MALFORMED_UDP = 8
    MALFORMED_ICMP = 9
    SPOOFED_INSIDE = 10
    SPOOFED_BOGON = 11
    SPOOFED_FOREIGN = 12
    BLOCKED_SOURCE = 13
    BLOCKED_DESTINATION = 14
    LISTED_SOURCE = 15
    LISTED_DESTINATION = 16
    FRAGMENT_OF_DROPPED = 17
    REFUSED_NAME = 18
    NOT_INSPECTED = 19

class Fact(IntEnum):
    NOT_IP = 0
    TUNNEL = 1
    OPAQUE = 2
    EXTENSION_LIMIT = 3
    FRAGMENT = 4
    FRAGMENT_WITHOUT_FIRST = 5
    FRAGMENT_TABLE_FULL = 6
    FRAGMENT_TINY = 7
    BYPASSED = 8
    OBSERVED = 9
    SUPER_PACKET = 10
    PROBE = 11
    HELD = 12
    INSPECTOR_AWAY = 13
    HOLD_FULL = 14

LIMITS: dict[str, int]
"""enum limit of abi.h by name."""

def boot_clock_ns() -> int: ...
def membarrier() -> None:
    """Waits until every CPU has left the programs that it ran at the call (MEMBARRIER_CMD_GLOBAL)."""

class PrefixLines:
    """What parse_prefixes found. Arrays are bytes of little-endian integers, sorted and distinct."""

    v4: bytes  # uint64: address << 8 | length
    v6: bytes  # 24 bytes each: uint64 high, uint64 low, uint64 length; bits past the length are 0
    blank: int  # lines with nothing on them (blank, comment)
    entries: int  # lines that gave an entry, duplicates included
    malformed: int
    rejected: list[tuple[int, str]]  # the first 100: line number from 1, text cut at 200 characters

def parse_prefixes(data: Buffer, separators: str) -> PrefixLines:
    """One address, CIDR prefix or range `a-b` at the start of each line; '#', ';' and '//' open a comment.

    `separators`: characters that end the first column (";" for Spamhaus DROP, "" for plain lists: white space ends
    it always). A range becomes its smallest set of prefixes ("a - b" too, but "a - words" is an address with a note).
    Host bits past the length are cut, as routers do. Mapped IPv6 becomes IPv4. Malformed: octets with a leading zero,
    short forms, zone ids, a range that ends before it begins. Lines end with \\n, \\r\\n or \\r.
    """

class ListLines:
    """What parse_list found. Every line is counted once: blank, entry or other."""

    exact: bytes  # canonical names, sorted by byte, distinct, each ended by a newline
    below: bytes
    subtree: bytes
    v4: bytes  # as PrefixLines has them
    v6: bytes
    blank: int
    entries: int  # lines that gave one, duplicates included
    others: bytes  # 24 bytes each: uint64 line number from 1, first byte, behind the last byte
    is_full: bool  # there are more others, and reading ended at the last of these

def parse_list(
    data: Buffer,
    frames: Sequence[tuple[bytes, bytes, int, bool]],
    comments: Sequence[bytes],
    special_labels: Sequence[bytes],
    separators: bytes | None = None,
) -> ListLines:
    """Reads the usual lines of a format, and says where the others are.

    `frames`: what stands before a name, what behind it to the line's end, the name's scope, whether an IPv4 address in
    its place is an entry (0.0.0.0 never). `comments`: what opens a line that says nothing, behind white space.
    `special_labels`: a name whose last label is one of these is an other. With `separators`, lines are read as
    parse_prefixes does instead.
    """

def sort_names(names: Buffer) -> bytes:
    """Canonical names, one a line, in any order → sorted by byte, distinct."""

def find_names(names: Buffer, sought: Buffer) -> bytes:
    """Which lines of `sought`, in any order, stand in sorted names: a byte for each, 1 or 0."""

def merge_names(exact: Buffer, below: Buffer, subtree: Buffer) -> list[bytes]:
    """Sorted names of three scopes → the same, each name in one: exact and below make subtree, which holds both."""

class NameScope(IntEnum):
    """What a name of a list covers."""

    EXACT = 0  # the name itself
    BELOW = 1  # every name below it, not itself
    SUBTREE = 2  # both

class NameLines:
    """What parse_names found. Every line is counted once: blank, entry, address, unsupported or malformed."""

    exact: bytes  # canonical names, sorted by byte, distinct, each ended by a newline
    below: bytes
    subtree: bytes
    addresses: bytes  # columns that look like an address, as they stood, for parse_prefixes
    blank: int
    entries: int  # lines that gave a name, duplicates included
    address_lines: int
    unsupported: int  # of a known kind that is not enforced: letters beyond ASCII, other wildcards, a dot in front
    malformed: int
    rejected: list[tuple[int, str]]  # the first 100: line number from 1, text cut at 200 characters

def parse_names(data: Buffer, plain: int, starred: int) -> NameLines:
    """One name a line and nothing else but a comment; `plain`: its scope, `starred`: that of a name behind `*.`."""

def name_hash(name: str, k0: int, k1: int) -> int:
    """The plain key of a name: what bpf/names.h asks the filter for a suffix; the name itself by a tagged one."""

class NameMatch:
    """The entry that decides about a name."""

    list: int  # number of the list, as build was told
    scope: NameScope
    entry: str
    exception: bool
    observe: bool  # of a list that is only observed: refuses nothing

class NameFilterShape:
    """What the kernel needs beside the words to ask the filter."""

    seed: int
    segment_length: int
    segment_length_mask: int
    segment_count_length: int
    entries: int

class NameSet:
    """Part `names` of a snapshot: the exact set. BadSnapshotPart for what is none; holds on to the buffer."""

    def __init__(self, data: Buffer) -> None: ...
    @staticmethod
    def build(
        lists: Sequence[tuple[int, int, bool, Buffer]],
        k0: int,
        k1: int,
        observed: Sequence[tuple[int, int, bool, Buffer]] = (),
    ) -> tuple[bytes, bytes]:
        """From number of the list, scope, exception and names as NameLines has them: the set, words of its filter.

        `observed`: of lists that are only observed. ValueError for names that are none. Same input, same bytes.
        """
    def find(self, name: str) -> NameMatch | None:
        """The longest listed suffix decides; there an exception, then the lower number, then the wider scope. Where no
        enforced list refuses the name, what the observed ones refuse by the same rule."""
    @property
    def names(self) -> int: ...
    @property
    def keys(self) -> tuple[int, int]: ...
    @property
    def filter(self) -> NameFilterShape: ...

class NameFilter:
    """Part `name_filter` of a snapshot, asked as the kernel does. BadSnapshotPart where it isn't that of the set."""

    def __init__(self, set: NameSet, words: Buffer) -> None: ...
    def may_hold(self, name: str) -> bool:
        """True for every name that the set finds, and for one in 65,536 questions about others."""

class Settings:
    """struct settings of abi.h, and what the guard map holds."""

    def __init__(
        self,
        *,
        inside_ifindex: int,
        outside_ifindex: int,
        observe: bool = False,
        xdp_forward: bool = False,
        guard: list[tuple[bytes, int, int]] = ...,  # address, length, flags; those of covering prefixes are added
        guard_inside: bool = False,
        guard_bogons: bool = False,
        names_held: bool = False,  # hold each name instead of reading it, as kernels before 6.9 do anyway
    ) -> None: ...

class Capacity:
    """Elements a copy of the maps that grow."""

    bitmaps: int  # one for each /24 that the base says anything about
    v6_buckets: int  # a power of two
    v6_slots: int
    name_words: int  # of the filter of names
    observed: int  # 1, or as bitmaps where some list is only observed
    def __init__(
        self, bitmaps: int, v6_buckets: int, v6_slots: int, name_words: int = 1, observed: int = 1
    ) -> None: ...

class Loader:
    """Programs and maps of one gateway. Needs root; everything here happens in the privileged process.

    Pins below pin_directory (on a bpffs; made if absent): maps-ABI_VERSION/NAME, programs/{tcx,xdp},
    links/{tcx,xdp}-{inside,outside}, links/hold-{outbound,inbound}. Folders are 0700, pins 0600.
    """

    def __init__(self, pin_directory: str | None, *, tcx_object: str | None = None) -> None:
        """None: nothing is pinned and nothing taken over (tests, bench). tcx_object: a file with a test's own program
        in place of the built-in one, with the same maps and the same settings."""

    def load(self, settings: Settings, capacity: Capacity, *, xdp: bool) -> list[str]:
        """Opens every pinned map that fits, makes the others, loads the programs. Names of the maps made anew.

        control and the maps of the base are taken over together or not at all; so are overlay, green and touch maps.
        guard and ports are always new. A new control goes on with the epoch, bypass and nonce of the old one; a nonce
        of 0 is replaced by a random one, so that probes work at once. Nothing changes on the wire until attach(). Of
        another ABI version nothing is taken over but the links.
        """

    def map_fds(self) -> dict[str, int]:
        """Open descriptors by map name; the caller sends or duplicates them. Of a Loader that did not load itself: of
        the pinned maps."""

    def capacity(self) -> Capacity:
        """What the maps hold: may be more than load() was asked for. Of a Loader that did not load: of the pins."""

    def names_held(self) -> bool:
        """What was loaded holds each name that it would read: a kernel before 6.9, or Settings said so."""

    def attach(self) -> dict[str, str]:
        """Puts the loaded programs on both ports: bpf_link_update of a pinned link, or a new link, then pins it, the
        programs and the maps. {"tcx-inside": "attached"|"updated"|"replaced"|"moved"}; "replaced": the pinned link had
        lost its port; "moved": it was on another port, or in another network namespace, and was taken off there. With
        xdp=False a pinned XDP link is taken off after the TCX ones stand. Without a pin directory the links end with
        this object, or with close_programs()."""

    def attach_hold(self, outbound_ifindex: int, inbound_ifindex: int) -> dict[str, str]:
        """Puts the loaded program of held packets on both TAPs, pins it, and tells the programs in which TAP packets of
        each direction wait. As attach(): {"hold-outbound": "attached"|…}. A later attach() puts its new program behind
        these links too."""

    def run(self, direction: Direction, frame: bytes, hook: str = "tcx") -> int:
        """One unmarked frame through the loaded program as if it had come in at a port: counted, and held, like a
        packet; nothing is sent. For tests. What the program returned."""

    def read_names(self, direction: Direction, frames: list[bytes]) -> list[tuple[str, str, str, bytes, int]]:
        """run() for each, and what the program's reader said: answer, protocol, class (words of abi.h), the name as it
        stood, its tagged key. For tests."""

    def check_names(self, frames: list[bytes]) -> tuple[dict[str, int], list[str]]:
        """Each frame as the first of its flow: what the program's reader says against the inspector's readers. Frames
        by the program's answer ("clean", "listed", "none", "not-here"), and "different"; examples of those, ten at
        most."""

    def check_generated_names(self, seed: int, count: int) -> tuple[dict[str, int], list[str]]:
        """The same of as many generated frames."""

    def probe(self, hook: str, direction: Direction, frame: bytes) -> ProbeOutcome:
        """One frame through the loaded program by BPF_PROG_TEST_RUN, marked by the nonce of struct control.
        hook: "tcx" or "xdp". Of a Loader that did not load itself, or closed its programs, the pinned programs are
        used. 14 bytes at least, 3 500 or so at most. ValueError while the nonce is 0."""

    def probe_many(self, hook: str, directions: bytes, frames: list[bytes]) -> list[ProbeOutcome]: ...
    def cost_ns(self, hook: str, direction: Direction, frame: bytes, repeat: int) -> int:
        """Mean run time of one packet, unmarked (counted as a packet): for bench. Ports are those of load()."""

    def close_programs(self) -> None:
        """Closes program and link descriptors, keeps the maps'."""

    def links(self) -> dict[str, int]:
        """Pinned links and the ifindex each is on; 0: its port is gone."""

    def detach(self) -> list[str]:
        """Takes links off, then removes every pin and the directory. Names of the links that were on a port. Nothing
        pinned: []."""

class ProbeOutcome:
    verdict: Verdict
    drop_reason: DropReason
    lane: Lane
    epoch: int
    facts: frozenset[Fact]
    action: int  # what the program returned: TCX_DROP 2, TCX_REDIRECT 7; XDP_DROP 1, XDP_PASS 2, XDP_REDIRECT 4

class Base:
    """One compiled base in memory: the parts of a snapshot as buffers, checked for shape. Cheap to make."""

    def __init__(
        self,
        *,
        v4_cell_numbers: Buffer,  # uint32, ascending: /24s whose cell isn't CELL_NOTHING
        v4_cells: Buffer,  # uint32: CELL_LISTED, CELL_OBSERVED or CELL_BITMAP + n
        v4_bitmaps: Buffer,  # 32 bytes each
        v6_buckets: Buffer,  # 8 bytes each: uint32 first, uint32 count; a power of two of them
        v6_slots: Buffer,  # 24 bytes each, struct v6_slot
        v6_lengths: bytes,  # longest first
        v6_seed: int,
        v4_observed: Buffer | None = None,  # as v4_bitmaps: which of their bits only observed lists set; none: no bit
    ) -> None: ...
    def needs(self) -> Capacity:
        """The least capacity that holds it."""

class Difference:
    """What the kernel holds against what it should. 0 everywhere: they agree."""

    wanted: int  # /24s (front and bitmap) + buckets + slots, or overlay and green entries, that should be there
    missing: int
    foreign: int  # there, and should not be
    wrong: int  # there with another value
    examples: list[str]  # at most ten, as text

class Tables:
    """The maps of a loaded gateway, by descriptors; needs no capability. Remembers the overlay and grants it wrote."""

    def __init__(self, map_fds: dict[str, int], capacity: Capacity) -> None: ...
    # base
    def fill(self, base: Base, names: NameFilter | None = None, public_ech: Sequence[str] = ()) -> None:
        """Writes the idle copy of both whole; None: no name is listed. public_ech: names of providers, given to hellos
        whose own is hidden, LIMITS["PUBLIC_ECH_MAX"] at most. Raises CapacityExceeded when it does not fit; nothing is
        written then."""

    def flip(self, *, grace: bool = True) -> int:
        """Publishes the idle copy; waits the grace period, after which the other copy may be filled. New epoch.
        grace=False exists for the test that shows why it is needed."""

    def compare_base(self, base: Base, names: NameFilter | None = None, public_ech: Sequence[str] = ()) -> Difference:
        """The live copy, every cell of it."""

    # names
    def set_names_active(self, active: bool) -> None:
        """False, as after a load that made the maps anew: no name is looked at."""

    def set_on_failure(self, policy: str) -> None:
        """What is done with a packet that has to be held while nobody is there to look: "open" or "closed"."""

    def set_overlay_names(self, names: list[tuple[str, str]]) -> int:
        """All names that were blocked or excepted one by one: canonical name, scope ("exact", "below", "subtree").
        The keys they take. Tell the inspector first."""

    def change_overlay_names(self, added: list[tuple[str, str]], removed: list[tuple[str, str]]) -> int:
        """The same where only these changed; what is in both stays. After an error all must be set. The keys that
        stand."""

    def hold_state(self) -> dict[str, Any]:
        """names_active, on_failure, overlay_names, held, released, live, heartbeat_ns, tap_ifindex."""

    def names_seen(self) -> list[tuple[str, str, int, int]]:
        """Protocol, class, flows (of DNS, queries) decided in the kernel, by the inspector. Rows that are not 0."""

    def names_pushed_out(self) -> int:
        """Flows that passed unread since too many newer ones began before their first data came."""

    def inspector_counts(self) -> dict[str, int]:
        """By word of enum inspector_count."""

    @property
    def epoch(self) -> int: ...
    # overlay and grants
    def put_overlay(self, address: bytes, length: int, block_until_ns: int, exception_until_ns: int) -> None:
        """One entry, new or not; 0: no block, or no exception. Both 0: ValueError, remove it instead."""

    def remove_overlay(self, address: bytes, length: int) -> None:
        """It need not be there. The same for grants."""

    def put_green(self, address: bytes, length: int, until_ns: int) -> None: ...
    def remove_green(self, address: bytes, length: int) -> None: ...
    def reconcile(
        self,
        overlay: list[tuple[bytes, int, int, int]],  # address, length, block_until_ns, exception_until_ns
        green: list[tuple[bytes, int, int]],
    ) -> None:
        """Start and clock steps: makes kernel and memory hold exactly this, touching only what differs. Refused whole
        when it does not fit. Until then what was found in the maps is remembered."""

    def compare_overlay(self) -> Difference:
        """Reads back overlay, grants, their lines and touch bitmaps. Entries change freely meanwhile."""

    def mend_overlay(self) -> None:
        """Makes the kernel hold what is remembered, touching only what differs."""

    # control
    def set_bypass_until(self, boot_ns: int) -> None: ...
    def bypass_until(self) -> int: ...
    def set_probe_nonce(self, nonce: int) -> None: ...
    def beat(self, boot_ns: int) -> None: ...
    def heartbeat(self) -> int: ...
    # counters
    def counters(self) -> list[tuple[Lane, Direction, DropReason, int, int]]:
        """Rows that are not 0: packets, bytes, summed over CPUs."""

    def observed(self) -> list[tuple[DropReason, int, int]]: ...
    def facts(self) -> dict[Fact, tuple[int, int]]: ...
    def sweep_fragments(self, now_ns: int) -> int: ...
    def memory_bytes(self) -> dict[str, int]:
        """Kernel memory of each map, from its fdinfo (memlock)."""

class DropEvent:
    boot_ns: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    protocol: int
    ip_version: int
    ttl: int
    vlan: int
    length: int
    weight: int
    epoch: int
    drop_reason: DropReason
    direction: Direction
    lane: Lane
    observed: bool

class Events:
    """Reader of the events ring; by descriptor, needs no capability."""

    def __init__(self, ring_fd: int) -> None: ...
    def poll(self, timeout_ms: int) -> list[DropEvent]:
        """Waits for the first event; gives what is there, 4 096 at most. A signal ends the wait early."""

def live_frames(
    ifindex: int, frame: bytes, count: int, batch: int, *, randomize: str, seed: int, prefixes: Buffer
) -> float:
    """For bench: sends `count` copies out of a port as XDP live frames from this core. Seconds it took.

    randomize: "" (as given), "source", "destination", "both": IPv4 addresses drawn from `prefixes` (uint32 pairs:
    address, mask in host order; one pair of zeros: any address), checksum of the IP header mended.
    """

class FrameSink:
    """For bench: an XDP program on a port that counts every frame and drops it. It goes with this object."""

    def __init__(self, ifindex: int) -> None: ...
    def packets(self) -> int: ...
    def close(self) -> None: ...

def ping(socket: int, count: int, timeout_ms: int) -> bytes:
    """For bench: sends 64-byte requests over a connected socket, each after the response to the one before; spins.
    uint64 nanoseconds of each. KernelRefused when a response takes longer than the timeout."""

def pong(socket: int, count: int, timeout_ms: int) -> None:
    """For bench: responds to `count` requests; spins."""

ABSENCES: list[str]
"""The closed list of reasons why a flow has no name."""

class Found:
    """A name of a flow, or why it has none: one of `name` and `none` is None."""

    proto: str
    transport: str
    src: str
    sport: int
    dst: str
    dport: int
    name: str | None
    none: str | None
    odd: str
    frame: int
    alpn: list[str]
    ech: bool
    ambiguous: int

class FlowSum:
    """A flow that ended, or was ended by the capture's end. `frame`: its first."""

    transport: str
    src: str
    sport: int
    dst: str
    dport: int
    packets: int
    bytes: int
    frame: int

class Inspection:
    """A capture file, read front to back a few hundred kilobytes at a call; memory is bounded. OSError as open().

    Each of json, fields and findings gives what the next part of the file made known, and None after its end.
    """

    def __init__(self, path: str | PathLike[str], sums: bool = False) -> None: ...
    def json(self) -> bytes | None:
        """One JSON object a line."""

    def fields(self) -> bytes | None:
        """Fields between tabs: frame, protocol, source, port, destination, port, name or (reason)."""

    def findings(self) -> list[Found] | None: ...
    def sums(self) -> list[FlowSum]:
        """Flows that ended since it was last asked; empty without `sums`."""

    @property
    def frames(self) -> int: ...
    @property
    def unread_frames(self) -> int:
        """Those of them on link layers that can't be read, or of interfaces that the file does not describe."""

    @property
    def read_bytes(self) -> int: ...
    @property
    def trouble(self) -> str | None:
        """Why it ended early: not-a-capture, link, damaged, truncated."""

    @property
    def link(self) -> int | None:
        """The number of the link layer that can't be read, the first of several."""

def open_tap(name: str, mtu: int) -> int:
    """The TAP of that name in this network namespace, made where there is none: persistent, non-blocking, down. Its
    descriptor. KernelRefused, also while another process has it."""

def remove_tap(name: str) -> bool:
    """Takes a TAP away that nobody holds. False: there is none."""

def tap_dropped(fd: int) -> int:
    """Frames that found it full since it was made. OSError where it was taken away."""

def tap_stands(fd: int) -> bool:
    """Whether the interface is there still: somebody may have taken it away."""

_Told = tuple[str, str, int, str, str]  # rule, reason, number of the reason, source, until
_Single = tuple[str, int, int, _Told]  # scope, block and exception on the boot clock, what is told

class Inspector:
    """The hold loop: engine/src/hold.rs. Needs no capability. TAPs by enum Direction; descriptors are duplicated."""

    def __init__(
        self,
        tap_fds: tuple[int, int],
        map_fds: dict[str, int],
        *,
        released_first: bool = False,  # for tests: lets packets overtake each other
        decision_us: int = 0,  # for tests: each decision takes so long
    ) -> None: ...
    def run(self) -> None:
        """The loop, until end(). Nothing is read, and no heart beats, before begin(). Everything else may be called
        meanwhile, from other threads."""

    def begin(self) -> None: ...
    def end(self) -> None:
        """What is held passes, then run() returns."""

    def set_lists(self, names: str | None, lists: list[_Told]) -> int:
        """The set of a snapshot (a file; None: no names), and what is told of each list. Names in it.
        BadSnapshotPart."""

    def set_single(self, names: list[tuple[str, _Single]]) -> None:
        """All names that people decided about."""

    def put_single(self, name: str, entries: list[_Single]) -> None:
        """What stands at one name; empty: nothing."""

    def set_answering(
        self,
        *,
        on: bool,
        dns: str,  # "nxdomain", "refused"
        contact: str | None,
        appeal_url: str | None,
        observe: bool,
        public_ech: list[str],
    ) -> None: ...
    def take_refused(self, timeout_ms: int) -> list[RefusedName]:
        """What was refused since the last call; waits for the first so long."""

class RefusedName:
    """A flow or query that was refused."""

    boot_ns: int
    name_protocol: str  # dns, http, tls, quic
    name: str
    entry: str
    scope: str
    list: int | None
    rule: str
    reason: str
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    protocol: int
    direction: Direction
    answered: str
    observed: bool

class HoldView:
    """What the inspector writes while it runs."""

    def __init__(self, map_fds: dict[str, int]) -> None: ...
    @property
    def heartbeat_ns(self) -> int: ...
    @property
    def held_total(self) -> int: ...
    @property
    def released_total(self) -> int: ...
    @property
    def live(self) -> int: ...
    def slot(self, number: int) -> tuple[int, list[int], list[int]] | None:
        """State, held and released by direction. For tests."""

class NameCost:
    """For bench: the programs' reader of names and a filter, run by BPF_PROG_TEST_RUN over a frame in which each run
    has another name. Needs the rights of a loader."""

    def __init__(self, names: NameFilter) -> None: ...
    def measure(
        self,
        frame: bytes,
        *,
        name_at: int,  # of the name in the frame: '?' there is any letter; 80 bytes at most
        name_bytes: int,
        payload_at: int,
        is_dns: bool,
        repeat: int,
        seed: int,
    ) -> tuple[int, int, int, int]:
        """Mean ns of drawing, reading and asking; of drawing alone; names found clean; names that were not."""

def dial_flows(
    kind: str,  # "tcp", "udp"
    source: str,
    destination: str,
    port: int,
    payloads: list[bytes],  # first bytes of flows, taken in turn
    *,
    first: int,
    concurrent: int,
    stays: bool,  # of udp: the socket asks again
    seconds: float,
) -> tuple[int, int, float]:
    """For bench: begins flows one after another in this thread's namespace, each until its answer. Flows that were
    answered, that were not, and seconds."""

def serve_flows(kind: str, socket: int, stop: int, *, request_bytes: int, answer: bytes) -> int:
    """For bench: answers them, until `stop` can be read. Over UDP with `answer`, or where that is empty as DNS."""

def dial_first_data(source: str, destination: str, port: int, payloads: list[bytes], count: int) -> bytes:
    """For bench: flows over TCP one by one, both ends awake. When each sent: uint64 ns of the monotonic clock."""

def serve_first_data(listener: int, count: int, request_bytes: int) -> bytes:
    """When each had arrived, on the same clock."""

def quic_initial(connection_id: bytes, hello: bytes) -> bytes:
    """For bench: a client's first datagram of QUIC version 1 with this handshake message."""
