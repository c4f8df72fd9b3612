"""Names that nothing may be decided about: public suffixes with all below them, and the names that hide others.

Reads no file but one of a dependency: the Public Suffix List is the one that the distribution publicsuffixlist carries,
ICANN's and the private section both. It is read when it is asked first, in tens of milliseconds; `warm` does so before
a gateway serves.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from clearway._engine import NameScope
from clearway.errors import ClearwayError
from clearway.policy.model import Name
from clearway.policy.name_table import NameEntry, covers

PUBLIC_ECH_NAMES = ("cloudflare-ech.com",)
"""What a passive observer sees of encrypted hellos in place of every site behind a provider. A verdict on one of these
would be a verdict on all of them."""


def check(name: Name, scope: NameScope) -> None:
    """Whether a block may be about that. Raises store.E034 (a public suffix), E035 (holds a public ECH name)."""
    entry = NameEntry(str(name), scope)
    if scope != NameScope.EXACT and is_public_suffix(entry.name):
        raise ClearwayError.of("store.E034", name=name)
    for public in PUBLIC_ECH_NAMES:
        if covers(entry, public):
            raise ClearwayError.of("store.E035", name=name, public=public)


def warm() -> None:
    """Reads the list now."""
    suffix_rules()


def is_public_suffix(name: str) -> bool:
    """Whether people register names below it, as below co.uk or github.io. `name`: in canonical form."""
    suffixes, exceptions, _ = suffix_rules()
    if name in exceptions:
        return False
    return name in suffixes or f"*.{name.partition('.')[2]}" in suffixes


def is_customers_name(name: str) -> bool:
    """Whether it is a public suffix for one reason alone: each child of a hoster's name is one, as below *.run.app.
    Most of those are the name of one customer."""
    suffixes, _, hosters = suffix_rules()
    return name not in suffixes and f"*.{name.partition('.')[2]}" in hosters


@cache
def suffix_rules() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Suffixes (`*.` in front of those whose every child is one; they themselves count too), exceptions, and which of
    the `*.` stand in the private section."""
    import publicsuffixlist  # its list alone: its own reading takes longer

    text = Path(publicsuffixlist.PSLFILE).read_text("utf-8")
    suffixes: set[str] = set()
    exceptions: set[str] = set()
    hosters: set[str] = set()
    is_private = False
    for line in text.splitlines():
        rule = line.strip()
        is_private = is_private or "===BEGIN PRIVATE DOMAINS===" in rule
        if not rule or rule.startswith("//"):
            continue
        if not rule.isascii():
            rule = rule.encode("idna").decode("ascii")
        if rule.startswith("!"):
            exceptions.add(rule[1:])
            continue
        suffixes.add(rule)
        suffixes.add(rule.removeprefix("*."))
        if is_private and rule.startswith("*."):
            hosters.add(rule)
    return frozenset(suffixes), frozenset(exceptions), frozenset(hosters)
