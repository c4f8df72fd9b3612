"""`clearway demo`: the lab, a real gateway in its middle, and everything that the gateway promises, before one's eyes.

A list of steps, each of which fills in a part of the Board and knows what must come of it. Whatever was not as
expected is named at the end, and the demo then says no. It takes away all that it made, unless it is told to keep it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live

from clearway.errors import ClearwayError
from clearway.gateway.locks import FileLock, LockHeld
from clearway.lab import clients, demo_lists, demo_names, generated_list
from clearway.lab.asked import Asked
from clearway.lab.beats import Beats
from clearway.lab.board import Board, Cost, Crossing, Death, Moment, Timeline
from clearway.lab.gateway import GatewayProcess
from clearway.lab.list_taken import ListTaken
from clearway.lab.namespace import Namespace
from clearway.lab.numbered import Address
from clearway.lab.spoof import send_spoofed
from clearway.lab.topology import BUSINESS_V4, BUSINESS_V6, HOSTS, Lab, require_rights
from clearway.lab.traffic import Traffic

ENTRIES = 1_000_000
LIST_NAME = "million"
ORGANISATION = "Example Software"
KEEP_FOR_S = 3600.0
RUN_FOR_S = 1200.0  # then the lab's keeper clears away what a killed demo left: longer than a slow one takes

REFUSED_AFTER_S, REACHED_AFTER_S = 0.6, 15.0  # the client's patience where refusal is expected, and else
BEATS_EVERY_S = 0.02
BEATS_PHASE_S = 1.2
BEATS_A_PHASE_MIN = 20
BEATS_APART_S = 0.05  # so close to a change a request may go either way: its sender can be kept from its core
TURNS = 3
BULK_S = 1.0
BULK_TRIES_MAX = 10
ROUND_TRIPS = 250
DEATH_RATE = 5000
DEATH_PHASE_S = 1.5

Result = TypeVar("Result")
Counters = dict[tuple[str, str, str], int]


@dataclass(frozen=True)
class Way:
    """How a client crosses: from, to, by what, over which family."""

    source: str
    target: str
    by: str  # "curl", "ping", "spoof"
    v6: bool = False

    def crossing(self, lane: str, refused: str = "", note: str = "") -> Crossing:
        target = f"{self.target} (v6)" if self.v6 else self.target
        return Crossing(self.source, target, self.by, lane, refused, note)


class Demo:
    """One run. `run` gives the board and what was not as expected."""

    def __init__(self, lab: Lab, live: bool, console: Console) -> None:
        self.lab, self.console, self.live = lab, console, live
        self.board = Board()
        self.gateway: GatewayProcess | None = None
        self.began = time.monotonic()
        self.missed: list[str] = []
        self._said: dict[str, str] = {}  # by explain, of an address

    # ---- the run ----

    def run(self) -> None:
        """All steps in order, drawn live on a terminal."""
        with self._drawn() as draw:
            for words, step in self._steps():
                self.board.now = words
                draw()
                step(draw)
            self.board.now = ""
            draw()

    def _steps(self) -> list[tuple[str, Callable[[Callable[[], None]], None]]]:
        return [
            ("building the lab: seven hosts, two switches, a server of lists, real veth wires", self._build),
            ("writing lists of a million generated addresses and a million names", self._list),
            ("starting the gateway", self._start),
            ("lists in five formats from a server, one of them with a CDN's address in it", self._fetch),
            ("ordinary programs cross it", self._cross),
            ("an attacker is blocked by hand", self._block),
            ("one server, many names: what somebody sees who asks for a refused one", self._names),
            ("the source of a list is taken over", self._poison),
            ("a registered business passes untouched, until its grant is revoked", self._grant),
            ("measuring against the bare wire, turn by turn", self._measure),
            ("killing the daemon under load, and starting it again", self._die),
        ]

    @contextlib.contextmanager
    def _drawn(self) -> Iterator[Callable[[], None]]:
        if not self.live:
            said = [""]

            def say() -> None:
                if self.board.now not in ("", said[0]):
                    said[0] = self.board.now
                    self.console.print(f"  ▸ {self.board.now}", highlight=False)

            yield say
            self.console.print(self.board.render(self.console.width))
            return
        with Live(console=self.console, refresh_per_second=12, screen=False, transient=True) as live:

            def draw() -> None:
                self.board.elapsed_s = time.monotonic() - self.began
                live.update(self.board.render(self.console.width, self.console.height), refresh=True)

            yield draw
        self.console.print(self.board.render(self.console.width))

    # ---- steps ----

    def _build(self, draw: Callable[[], None]) -> None:
        clients.require("nsenter", "curl", "ping", "iperf3", "openssl")
        began = time.monotonic()
        self.lab.down()
        self.lab.up(RUN_FOR_S)
        self.gateway = GatewayProcess.of(self.lab, *demo_names.OPTIONS)
        self.board.facts.append(("lab", f"{len(HOSTS)} hosts in {time.monotonic() - began:.1f} s"))

    def _list(self, draw: Callable[[], None]) -> None:
        gateway = self._gateway()
        demo_lists.make_listable(gateway)
        path = gateway.state / "generated.txt"
        bad = self.lab.host("bad")
        lines = generated_list.write(path, ENTRIES, [bad.v4, bad.v6])
        began = time.monotonic()
        gateway.command("feed", "add", LIST_NAME, str(path), "--reason", "botnet-c2")
        self.board.facts.append(("addresses", f"{lines:,} read in {time.monotonic() - began:.1f} s"))
        path, lines = demo_names.write_list(gateway.state)
        began = time.monotonic()
        about = ["--format", "domains", "--reason", demo_names.LIST_REASON]
        gateway.command("feed", "add", demo_names.LIST_NAME, str(path), *about)
        self.board.facts.append(("names", f"{lines:,} read in {time.monotonic() - began:.1f} s"))

    def _start(self, draw: Callable[[], None]) -> None:
        gateway = self._gateway()
        self.board.facts.append(("gateway", f"ready after {gateway.start():.1f} s"))
        for prefix in (BUSINESS_V4, BUSINESS_V6):
            gateway.ask("POST", "/v1/grant", {"prefix": prefix, "organisation": ORGANISATION, "until": "1h"})

    def _fetch(self, draw: Callable[[], None]) -> None:
        for published in demo_lists.publish(self.lab):
            self._take(draw, demo_lists.add(self._gateway(), published))

    def _poison(self, draw: Callable[[], None]) -> None:
        self._take(draw, demo_lists.poison(self.lab, self._gateway()))
        self._try(draw, Way("home2", "web1", "curl"), "inspected", note="half of the internet is not cut off")

    def _take(self, draw: Callable[[], None], taken: ListTaken) -> None:
        self.board.lists.append(taken)
        draw()
        self._expect(taken.as_expected, f"list {taken.name}{', poisoned' if taken.poisoned else ''}")

    def _cross(self, draw: Callable[[], None]) -> None:
        self._try(draw, Way("home1", "web1", "curl"), "inspected", note="nothing lists it")
        self._try(draw, Way("home2", "web2", "curl", v6=True), "inspected", note="nothing lists it")
        self._try(draw, Way("home1", "bad", "curl"), "inspected", "listed-destination")
        # on one Ethernet segment it falls to the list with its first word, the neighbour advertisement
        self._try(draw, Way("home2", "bad", "curl", v6=True), "inspected", "listed-source")
        self._try(draw, Way("bad", "home1", "curl"), "inspected", "listed-source")
        self._try(draw, Way("business", "web1", "curl"), "green", note=f"granted to {ORGANISATION}")
        granted = "the same grant: it is held to no list"
        self._try(draw, Way("business", "bad", "curl"), "green", note=granted)
        spoofed = "it claims to be home2"
        self._try(draw, Way("attacker", "home1", "spoof"), "inspected", "spoofed-inside", spoofed)

    def _block(self, draw: Callable[[], None]) -> None:
        attacker = self.lab.host("attacker")
        self._try(draw, Way("attacker", "home1", "curl"), "inspected", note="not known to anybody yet")
        body = {"target": attacker.v4, "reason": "brute-force", "until": "1h", "note": "seen in the demo"}
        self._timed("POST", "/v1/block", body)
        self._try(draw, Way("attacker", "home1", "curl"), "inspected", "blocked-source")

    def _names(self, draw: Callable[[], None]) -> None:
        for question in (*demo_names.listed_questions(), *demo_lists.questions()):
            self._ask(draw, question)
        demo_names.block(self._gateway())
        for question in demo_names.blocked_questions():
            self._ask(draw, question)

    def _grant(self, draw: Callable[[], None]) -> None:
        way = f"business → bad, a ping every {BEATS_EVERY_S * 1000:.0f} ms, while its grant is revoked and restored"
        line = Timeline(way, every_s=BEATS_EVERY_S)
        self.board.timeline = line
        beats = Beats(self.lab.namespace("business"), self.lab.host("bad").v4, BEATS_EVERY_S)
        line.answered = beats.answered
        began = time.monotonic()
        beats.start()
        try:
            self._watch(draw, BEATS_PHASE_S)
            revoked_at = time.monotonic()
            ms = self._timed("POST", "/v1/revoke", {"prefix": BUSINESS_V4})
            line.moments.append(Moment(revoked_at - began, f"clearway revoke {BUSINESS_V4}", ms))
            self._watch(draw, BEATS_PHASE_S)
            restored_at = time.monotonic()
            body = {"prefix": BUSINESS_V4, "organisation": ORGANISATION, "until": "1h"}
            ms = self._timed("POST", "/v1/grant", body)
            words = f'clearway grant {BUSINESS_V4} --organisation "{ORGANISATION}" --until 1h'
            line.moments.append(Moment(restored_at - began, words, ms))
            self._watch(draw, BEATS_PHASE_S)
        finally:
            beats.close()
        line.answered = list(beats.answered)
        line.as_expected = held(beats.sent_at, beats.answered, began, line.moments)
        self._expect(line.as_expected, "a grant revoked and restored")

    def _measure(self, draw: Callable[[], None]) -> None:
        bulk = Cost("bulk TCP, one stream", "Gbit/s", True)
        round_trip = Cost("median round trip", "µs", False)
        self.board.costs = [bulk, round_trip]
        web = self.lab.host("web2").v4
        for _ in range(TURNS):
            for lane, host, by in (
                ("bare", "home1", "bare"),
                ("inspected", "home1", "gateway"),
                ("green", "business", "gateway"),
            ):
                namespace = self.lab.namespace(host)
                self.lab.join(by)
                clients.ping(namespace, web, count=3, interval_s=0.01)  # everybody has learned the way again
                trips = clients.ping(namespace, web, ROUND_TRIPS, 0.002, wait_s=5)
                round_trip.turns.setdefault(lane, []).append(trips.p50_us)
                bulk.turns.setdefault(lane, []).append(self._bulk(namespace, web))
                draw()
        for cost in self.board.costs:
            self._expect(all(all(turns) for turns in cost.turns.values()), f"{cost.what}: every turn gave a figure")

    def _die(self, draw: Callable[[], None]) -> None:
        gateway = self._gateway()
        self.board.deaths = [Death("inspected", DEATH_RATE), Death("green", DEATH_RATE)]
        with contextlib.ExitStack() as stack:
            loads = [
                stack.enter_context(self._load(number, inside, outside))
                for number, (inside, outside) in enumerate((("home2", "web1"), ("business", "web2")))
            ]
            for load in loads:
                load.start()
            self._watch_loads(draw, loads, DEATH_PHASE_S)
            gateway.kill()
            killed_at = time.monotonic()
            self._watch_loads(draw, loads, DEATH_PHASE_S)
            gateway.start()
            self.board.gone_s = time.monotonic() - killed_at
            self._watch_loads(draw, loads, DEATH_PHASE_S)
            for death, load in zip(self.board.deaths, loads, strict=True):
                death.reports = load.stop()
                draw()
                clean = all(report.clean for report in death.reports)
                self._expect(clean, f"nothing lost in the {death.lane} lane over the daemon's death")
        self._try(draw, Way("home1", "bad", "curl"), "inspected", "listed-destination")

    # ---- parts of steps ----

    def _gateway(self) -> GatewayProcess:
        assert self.gateway is not None
        return self.gateway

    def _timed(self, method: str, path: str, body: dict[str, Any]) -> float:
        """A request over the daemon's socket; milliseconds until it was enforced."""
        began = time.perf_counter()
        self._gateway().ask(method, path, body)
        return (time.perf_counter() - began) * 1000

    def _try(self, draw: Callable[[], None], way: Way, lane: str, refused: str = "", note: str = "") -> None:
        """One client, one way; what the kernel's counters say about it."""
        row = way.crossing(lane, refused, note)
        self.board.crossings.append(row)
        draw()
        source, target = self.lab.host(way.source), self.lab.host(way.target)

        def cross(patience_s: float) -> tuple[bool, float]:
            if way.by == "spoof":
                return send_spoofed(self.lab, source, target, self.lab.host("home2").v4)
            reply = clients.curl(self.lab.namespace(way.source), target.v6 if way.v6 else target.v4, patience_s)
            return reply.reached, reply.ms

        for patience_s in (REFUSED_AFTER_S, REACHED_AFTER_S) if refused else (REACHED_AFTER_S,):
            (row.reached, row.ms), row.seen_lane, row.seen_refused = self._watched(partial(cross, patience_s), refused)
            if row.reached or row.seen_refused:  # else a busy machine: the client gave up before it had asked
                break
        row.why = note
        if not row.reached and row.seen_refused:
            outside = source if source.side == "outside" else target
            because = note or self._explained(outside.v6 if way.v6 else outside.v4)
            row.why = f"{row.seen_refused} · {because}"
        row.done = True
        draw()
        self._expect(row.as_expected, f"{row.source} → {row.target}")

    def _ask(self, draw: Callable[[], None], question: Asked) -> None:
        """One host asks for one name."""
        self.board.names.append(question)
        draw()
        demo_names.ask(self.lab, question, self._watched)
        draw()
        self._expect(question.as_expected, f"{question.source}: {question.asks}")

    def _watched(self, does: Callable[[], Result], refused: str) -> tuple[Result, str, str]:
        """Does it; what came of it, and lane and drop reason by the kernel's counters."""
        before = counters(self._gateway().ask("GET", "/v1/status"))
        result = does()
        after = counters(self._gateway().ask("GET", "/v1/status"))
        return result, *seen(before, after, refused)

    def _bulk(self, namespace: Namespace, address: str) -> float:
        """Gbit/s; again where the server was still busy with the turn before."""
        for _ in range(BULK_TRIES_MAX):
            found = clients.iperf3(namespace, address, BULK_S)
            if found:
                return found
            time.sleep(0.2)
        return 0.0

    def _explained(self, address: str) -> str:
        """What `clearway explain` says of it, in few words: the entry that decides. Asked once an address."""
        if address not in self._said:
            rule = self._gateway().command("explain", address)["decided_by"]
            by = f"list {rule['list']}" if rule and rule["kind"] == "list" else "by hand"
            self._said[address] = f"{rule['reason']}, {by}" if rule else "no rule says so"
        return self._said[address]

    def _load(self, number: int, inside: str, outside: str) -> Traffic:
        """Numbered traffic under the addresses of two hosts, between hardware addresses that are nobody's."""
        one, other = self.lab.host(inside), self.lab.host(outside)
        near = Address(f"02:c1:ea:00:{number:02x}:01", one.v4, one.v6)
        far = Address(f"02:c1:ea:00:{number:02x}:02", other.v4, other.v6)
        return Traffic((self.lab.end(inside), near), (self.lab.end(outside), far), rate=DEATH_RATE)

    def _watch(self, draw: Callable[[], None], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            draw()
            time.sleep(0.08)

    def _watch_loads(self, draw: Callable[[], None], loads: list[Traffic], seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for death, load in zip(self.board.deaths, loads, strict=True):
                counts = load.counts()
                death.sent = counts.sent_there + counts.sent_back
            draw()
            time.sleep(0.15)

    def _expect(self, seen: bool, what: str) -> None:
        if not seen:
            self.missed.append(what)


def held(sent_at: list[float], answered: list[bool | None], began: float, moments: list[Moment]) -> bool:
    """Every request sent before the revocation was asked for was answered, none that was sent once it was enforced,
    and every one after the grant was enforced again. What was sent in between may have gone either way."""
    revoke, restore = moments
    edges = [
        (0.0, revoke.at_s - BEATS_APART_S),
        (revoke.at_s + revoke.took_ms / 1000, restore.at_s - BEATS_APART_S),
        (restore.at_s + restore.took_ms / 1000, float("inf")),
    ]
    pairs = list(zip((at - began for at in sent_at), answered, strict=True))
    phases = [[was for at, was in pairs if low <= at < high] for low, high in edges]
    return all(len(phase) >= BEATS_A_PHASE_MIN for phase in phases) and (
        all(phases[0]) and not any(phases[1]) and all(phases[2])
    )


def counters(status: dict[str, Any]) -> Counters:
    """Packets by lane, direction and drop reason ("forwarded" among them), as the kernel counts them."""
    return {(row["lane"], row["direction"], row["reason"]): row["packets"] for row in status["counters"]}


def seen(before: Counters, after: Counters, expected: str) -> tuple[str, str]:
    """Lane and drop reason of what was counted in between.

    Other packets are counted too: neighbour discovery crosses as inspected, so green wins; a listed host that somebody
    looks for goes on being refused for seconds, so the expected reason wins where it is among those that moved.
    """
    moved = [key for key, count in after.items() if count > before.get(key, 0)]
    reasons = [reason for _, _, reason in moved if reason != "forwarded"]
    green = any(lane == "green" for lane, _, reason in moved if reason == "forwarded")
    return "green" if green else "inspected", expected if expected in reasons else next(iter(reasons), "")


def run(name: str, keep: bool, console: Console) -> Board:
    """The demo from nothing to nothing; the finished board. lab.E007 when something was not as promised, lab.E011 while
    another one of that name runs: it would take that one's lab away."""
    require_rights()
    lab = Lab(name)
    with _alone(lab):
        return _run(lab, keep, console)


@contextlib.contextmanager
def _alone(lab: Lab) -> Iterator[None]:
    try:
        lock = FileLock.take(lab.record_path.with_suffix(".demo"))
    except LockHeld as held:
        raise ClearwayError.of("lab.E011", pid=held.pid) from None
    with lock:
        yield


def _run(lab: Lab, keep: bool, console: Console) -> Board:
    demo = Demo(lab, console.is_terminal, console)
    kept = False
    try:
        demo.run()
        if keep:
            lab.up(KEEP_FOR_S)
            kept = True
    finally:
        if not kept:
            clear_away(lab, demo.gateway)
    if demo.missed:
        raise ClearwayError.of("lab.E007", missed="; ".join(demo.missed))
    return demo.board


def clear_away(lab: Lab, gateway: GatewayProcess | None) -> None:
    """The gateway first, by its own command, so that nothing of it stays in the kernel; then the lab."""
    with contextlib.suppress(ClearwayError):
        if gateway:
            gateway.detach()
    lab.down()
