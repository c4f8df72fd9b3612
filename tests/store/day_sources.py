"""Forty makers of lists, and what they publish in a day: what is good, what is worse, and what a careful reader makes
of each. They say themselves what they meant; nothing here asks the code under test."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from day_model import Entry, Held

FORMATS = ("ip-plain", "domains", "adblock", "hosts", "rpz", "csv", "spamhaus-drop", "dnsmasq")
TABLE = {"phishing": "phishing", "scam": "malware"}
"""Of lists with categories: the third that they write has no reason, and nothing of it is taken."""
NAMES = [
    f"{word}{number}.{zone}" for number in range(25) for word in ("a", "b") for zone in ("day.example.net", "x.test")
]
ADDRESSES = [f"45.95.{net}.{host}" for net in range(8) for host in range(1, 17)]
NETS = [f"45.95.{net}.0/{length}" for net in range(8) for length in (24, 28)]
TARGETS = [
    *ADDRESSES,
    "2a0d:5600:1::7",
    *NAMES,
    *(f"sub.{name}" for name in NAMES[:40]),
    "day.example.net",
    "other.example.org",
]
ENTRIES = range(36, 41)
"""Of a good list: few enough that none is twice another."""

Outcome = tuple[str, dict[str, Held] | None]
"""good, failed, condemned; and what is in it, where a person could let it through."""


class Source:
    """One maker, and the file that it writes."""

    def __init__(self, number: int, path: Path, dice: random.Random) -> None:
        self.format = FORMATS[number % len(FORMATS)]
        self.path = path
        self.dice = dice
        self.said: dict[str, Held] = {}
        self.way = ""
        """How it published last, for who looks into a failure."""

    def publish(self) -> Outcome:
        """Writes what it has now."""
        ways: list[tuple[int, Callable[[], Outcome]]] = [
            (60, self._good), (12, self._same), (8, self._gone), (5, self._page), (4, self._empty), (4, self._cut),
            (4, self._wide), (4, self._miscounted), (4, self._binary), (4, self._broken),
        ]  # fmt: skip
        way = self.dice.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
        self.way = way.__name__
        return way()

    def _good(self) -> Outcome:
        lines, held = self._lines()
        self.said = held
        self._write(lines)
        return "good", held

    def _same(self) -> Outcome:
        return ("good", self.said) if self.said and self.path.exists() and self._is_good else self._good()

    def _gone(self) -> Outcome:
        self.path.unlink(missing_ok=True)
        return "failed", None

    def _page(self) -> Outcome:
        return self._bad(b"<!doctype html>\n<html><body>Sign in</body></html>\n")

    def _empty(self) -> Outcome:
        return self._bad(b"# nothing today\n" if self.format != "csv" else b"domain,category\n")

    def _cut(self) -> Outcome:
        lines, _ = self._lines(count=3)
        return self._bad(self._bytes(lines))

    def _wide(self) -> Outcome:
        lines, _ = self._lines()
        wide = {"rpz": "7.0.0.0.128.rpz-ip CNAME .", "csv": "128.0.0.0/7,scam", "spamhaus-drop": "128.0.0.0/7 ; SBL9"}
        if self.format in ("adblock", "hosts", "dnsmasq"):
            return self._page()  # names alone
        return self._bad(self._bytes([*lines, wide.get(self.format, "128.0.0.0/7")]))

    def _miscounted(self) -> Outcome:
        lines, held = self._lines()
        comment = {"rpz": ";", "spamhaus-drop": ";", "adblock": "!"}.get(self.format, "#")
        self._write([f"{comment} Entries: 5000", *lines])
        self._is_good = False
        return "condemned", held

    def _binary(self) -> Outcome:
        lines, _ = self._lines()
        return self._bad(self._bytes(lines) + b"\0\0\0\n")

    def _broken(self) -> Outcome:
        lines, _ = self._lines()
        return self._bad(self._bytes([*lines, *["this is no line, of any format"] * 120]))

    def _bad(self, data: bytes) -> Outcome:
        self.path.write_bytes(data)
        self._is_good = False
        return "condemned", None

    def _write(self, lines: list[str]) -> None:
        self.path.write_bytes(self._bytes(lines))
        self._is_good = True

    def _bytes(self, lines: list[str]) -> bytes:
        head = {"csv": ["domain,category"], "rpz": ["$TTL 60", "@ SOA a. b. 1 2 3 4 5"]}.get(self.format, [])
        return "".join(f"{line}\n" for line in [*head, *lines]).encode()

    def _lines(self, count: int | None = None) -> tuple[list[str], dict[str, Held]]:
        count = count or self.dice.choice(ENTRIES)
        if self.format in ("ip-plain", "spamhaus-drop"):
            return self._addresses(count)
        names = self.dice.sample(NAMES, count)
        blocks: set[Entry] = set()
        spares: set[Entry] = set()
        lines = []
        if self.format == "csv":
            return self._table(names)
        for name in names:
            line, scope = self._name_line(name)
            lines.append(line)
            blocks.add((name, scope))
        if self.format == "adblock":
            spared = self.dice.sample(NAMES, 3)
            lines += [f"@@||{name}^" for name in spared]
            spares = {(name, "subtree") for name in spared}
        return lines, {"": Held(frozenset(blocks), frozenset(spares))}

    def _name_line(self, name: str) -> tuple[str, str]:
        starred = self.dice.random() < 0.3
        return {
            "domains": (f"*.{name}", "below") if starred else (name, "exact"),
            "adblock": (f"||{name}^", "subtree"),
            "hosts": (f"0.0.0.0 {name}", "exact"),
            "rpz": (f"*.{name} CNAME .", "below") if starred else (f"{name} CNAME .\n*.{name} CNAME .", "subtree"),
            "dnsmasq": (f"address=/{name}/0.0.0.0", "subtree"),
        }[self.format]

    def _addresses(self, count: int) -> tuple[list[str], dict[str, Held]]:
        chosen = [*self.dice.sample(ADDRESSES, count - 3), *self.dice.sample(NETS, 2), "2a0d:5600:1::/48"]
        # Held back one by one, and no part of what is enforced
        noise = self.dice.sample(["10.1.2.3", "8.8.8.8", "127.0.0.1", "192.0.2.7", "104.16.0.7", "0.0.0.1"], 2)
        lines = [f"{each} ; SBL1" if self.format == "spamhaus-drop" else each for each in [*chosen, *noise]]
        return lines, {"": Held(frozenset((each, "") for each in chosen))}

    def _table(self, names: list[str]) -> tuple[list[str], dict[str, Held]]:
        rows = [(name, self.dice.choice(["phishing", "scam", "scam", "scam", "unheard-of"])) for name in names]
        rows[:2] = [(names[0], "phishing"), (names[1], "scam")]  # each reason has something
        held: dict[str, set[Entry]] = {}
        for name, category in rows:
            if category in TABLE:
                held.setdefault(TABLE[category], set()).add((name, "exact"))
        lines = [f"{name},{category}" for name, category in rows]
        return lines, {reason: Held(frozenset(entries)) for reason, entries in held.items()}
