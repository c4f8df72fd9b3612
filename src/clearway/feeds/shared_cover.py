"""How good the lists of shared ranges are: of names resolved now, the addresses that they know, and those they miss.

Each name is asked for IPv4 and IPv6 addresses. Where the name, or a name that it leads on to (CNAME), shows whose front
end it is meant to be, an address that is in no front end's range is a miss of that vendor; of other names nobody can
say here whether their addresses are shared at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.inet
import dns.resolver

from clearway.errors import ClearwayError
from clearway.feeds.shared_vendors import vendor_of_name
from clearway.policy.model import Name, Prefix
from clearway.policy.shared import SharedClass
from clearway.policy.shared_sources import SharedRanges

NAMES_MAX = 1_000_000
NAMES_BYTES_MAX = 64 << 20
AT_ONCE = 16
LIFETIME_S = 5.0
"""For one question, with its retries."""
NOBODY = "–"
"""The vendor of a name that shows none."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the DNS said of a name."""

    name: str
    addresses: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    """Names that it leads on to."""
    failure: str = ""
    """Why there is no address; "" where there is one."""


@dataclass
class Cover:
    """Addresses of some names, each once."""

    front_end: set[str] = field(default_factory=set)
    single_tenant: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)

    def add(self, address: str, found: SharedClass) -> None:
        """One address more."""
        of_class = {
            SharedClass.FRONT_END: self.front_end,
            SharedClass.SINGLE_TENANT: self.single_tenant,
            SharedClass.ELSEWHERE: self.elsewhere,
        }
        of_class[found].add(address)

    def as_json(self) -> dict[str, Any]:
        """miss_rate: the part that is in no front end's range; None where there is no address."""
        missed = len(self.single_tenant) + len(self.elsewhere)
        addresses = len(self.front_end) + missed
        return {
            "addresses": addresses,
            "front_end": len(self.front_end),
            "single_tenant": len(self.single_tenant),
            "elsewhere": len(self.elsewhere),
            "miss_rate": round(missed / addresses, 4) if addresses else None,
        }


def read_names(path: Path) -> list[str]:
    """Names of a file, one a line, also as `RANK,NAME`; # begins a note. Raises feeds.E055."""
    try:
        with path.open("rb") as file:
            text = file.read(NAMES_BYTES_MAX + 1)
    except OSError as error:
        raise ClearwayError.of("feeds.E055", path=path, detail=error.strerror or error) from None
    if len(text) > NAMES_BYTES_MAX:
        raise ClearwayError.of("feeds.E055", path=path, detail=f"it is larger than {NAMES_BYTES_MAX >> 20} MiB")
    names: dict[str, None] = {}
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=1):
        bare = re.sub(r"^\d+,", "", line.partition("#")[0].strip()).strip()
        if not bare:
            continue
        try:
            names[str(Name.parse(bare))] = None
        except ClearwayError as error:
            raise ClearwayError.of("feeds.E055", path=path, detail=f"line {number}: {error.message}") from None
    if not 0 < len(names) <= NAMES_MAX:
        raise ClearwayError.of("feeds.E055", path=path, detail=f"it has {len(names):,}, of at most {NAMES_MAX:,}")
    return list(names)


def resolver_at(where: str | None) -> dns.resolver.Resolver:
    """The machine's own resolver, or that at ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT. Raises feeds.E054."""
    try:
        if where is None:
            found = dns.resolver.Resolver()
        else:
            found = dns.resolver.Resolver(configure=False)
            bracketed = re.fullmatch(r"\[(.*)\](?::(\d+))?", where)
            host, port = bracketed.groups() if bracketed else (where, None)
            if not bracketed and where.count(":") == 1:
                host, _, port = where.partition(":")
            if not dns.inet.is_address(host):
                raise ValueError(f"{host} is no address")
            found.nameservers, found.port = [host], int(port or 53)
    except (dns.exception.DNSException, ValueError) as error:
        raise ClearwayError.of("feeds.E054", resolver=where or "this machine's resolver", detail=error) from None
    found.lifetime = LIFETIME_S
    return found


def resolve(
    names: Sequence[str], resolver: dns.resolver.Resolver, progress: Callable[[int], None] = lambda done: None
) -> list[Resolved]:
    """All names, some at once. Raises feeds.E054 where the resolver answers none of them."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = []
        for done, each in enumerate(pool.map(lambda name: _resolve(name, resolver), names), start=1):
            found.append(each)
            progress(done)
    if all(each.failure == _SILENT for each in found):
        where = ", ".join(map(str, resolver.nameservers))
        raise ClearwayError.of("feeds.E054", resolver=where, detail="it answers nothing")
    return found


_SILENT = "no answer"


def _resolve(name: str, resolver: dns.resolver.Resolver) -> Resolved:
    addresses: dict[str, None] = {}
    chain: dict[str, None] = {}
    failures = []
    for kind in ("A", "AAAA"):
        try:
            answer = resolver.resolve(name + ".", kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return Resolved(name, failure="there is no such name")
        except (dns.resolver.NoNameservers, dns.resolver.YXDOMAIN) as error:
            failures.append(str(error).split(":")[0][:100])
            continue
        except dns.exception.DNSException:
            failures.append(_SILENT)
            continue
        for cname in answer.chaining_result.cnames:
            chain.update({str(each.target).rstrip(".").lower(): None for each in cname})
        addresses.update({str(each): None for each in answer.rrset or ()})
    if addresses:
        return Resolved(name, tuple(addresses), tuple(chain))
    return Resolved(name, (), tuple(chain), failures[0] if failures else "it has no address")


def measured(found: Iterable[Resolved], ranges: SharedRanges) -> dict[str, Any]:
    """Counts by vendor, and each address that is missed. As `cdn check --json` has it below `names`."""
    shared = ranges.shared
    every, shown = Cover(), Cover()
    vendors: dict[str, Cover] = {}
    names: dict[str, int] = {}
    misses: dict[str, dict[str, Any]] = {}
    unresolved = []
    resolved = 0
    for each in found:
        if each.failure:
            unresolved.append({"name": each.name, "why": each.failure})
            continue
        resolved += 1
        vendor = next((row.name for row in map(vendor_of_name, (*each.chain, each.name)) if row is not None), NOBODY)
        names[vendor] = names.get(vendor, 0) + 1
        for address in each.addresses:
            of_class = shared.class_of(Prefix.parse(address))
            for cover in (every, vendors.setdefault(vendor, Cover()), *([shown] if vendor != NOBODY else [])):
                cover.add(address, of_class)
            if of_class is not SharedClass.FRONT_END and (vendor != NOBODY or address not in misses):
                misses[address] = {
                    "name": each.name,
                    "address": address,
                    "class": of_class.value,
                    "vendor": None if vendor == NOBODY else vendor,
                    "chain": list(each.chain),
                }
    return {
        "asked": resolved + len(unresolved),
        "resolved": resolved,
        "all": every.as_json(),
        "of_known_vendors": shown.as_json(),
        "vendors": {
            vendor: {"names": names[vendor], **cover.as_json()}
            for vendor, cover in sorted(vendors.items(), key=lambda item: (item[0] == NOBODY, item[0]))
        },
        "misses": sorted(
            misses.values(), key=lambda miss: (miss["vendor"] is None, miss["vendor"] or "", miss["name"])
        ),
        "unresolved": unresolved,
    }
