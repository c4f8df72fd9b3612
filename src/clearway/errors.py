"""Every error that Clearway tells a person, by a permanent id: what happened, the way out, whose turn it is.

CATALOG is the one list; docs/errors.md has a heading for each id, and a test holds the two together. An id is never
used again for something else. Nothing here does I/O or imports the rest of the package: the extension takes its
exception classes from this file. Long because it is one list, and an id is looked up in one place.
"""

from __future__ import annotations

from string import Formatter
from typing import Any, NamedTuple, Self

ANSWER_IS_NO = 1
"""Exit code: understood, and the answer is no."""
MISUSE = 2
"""Exit code: the request cannot be meant as it was written."""
MACHINE_CANNOT = 3
"""Exit code: rights, kernel, ports, disk."""


class ErrorKind(NamedTuple):
    """One row of CATALOG. Both templates take the keyword arguments of ClearwayError.of."""

    message: str
    fix: str
    exit_code: int
    retry: bool = False  # the same request may do later, with nothing changed by the caller

    def fields(self) -> frozenset[str]:
        """Names that the two templates use."""
        parsed = [*Formatter().parse(self.message), *Formatter().parse(self.fix)]
        return frozenset(name for _, name, _, _ in parsed if name)


class ClearwayError(Exception):
    """An error with an id. Operators see its message and fix, never a traceback."""

    def __init__(self, id: str, message: str, fix: str, exit_code: int, retry: bool = False) -> None:
        super().__init__(message)
        self.id = id
        self.message = message
        self.fix = fix
        self.exit_code = exit_code
        self.retry = retry
        self.retry_after_s: float | None = None
        """How long whoever refused asks to wait, in seconds, where it said so."""

    @classmethod
    def of(cls, id: str, **values: object) -> ClearwayError:
        """The error of that id, its templates filled in. KeyError for an unknown id or a missing value."""
        kind = CATALOG[id]
        message, fix = kind.message.format(**values), kind.fix.format(**values)
        return ClearwayError(id, message, fix, kind.exit_code, kind.retry)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ClearwayError:
        """What as_json made, as the daemon sends it. An id of a newer daemon counts as MACHINE_CANNOT."""
        error = document["error"]
        kind = CATALOG.get(error["id"])
        exit_code = kind.exit_code if kind else MACHINE_CANNOT
        made = ClearwayError(error["id"], error["message"], error["fix"], exit_code, bool(error["retry"]))
        made.retry_after_s = error.get("retry_after_s")
        return made

    def as_json(self) -> dict[str, Any]:
        """The one shape in which an error leaves as JSON, from the command line and over HTTP."""
        error = {"id": self.id, "message": self.message, "fix": self.fix, "retry": self.retry}
        if self.retry_after_s is not None:
            error["retry_after_s"] = self.retry_after_s
        return {"error": error}

    def __str__(self) -> str:
        return f"{self.message} [{self.id}]"


class EngineError(ClearwayError):
    """Raised by the extension with a finished message. Only its subclasses are raised."""

    catalog_id = ""

    def __init__(self, message: str) -> None:
        kind = CATALOG[self.catalog_id]
        super().__init__(self.catalog_id, message, kind.fix, kind.exit_code, kind.retry)

    @classmethod
    def of(cls, id: str, **values: object) -> Self:
        """Not for these: their message comes from the extension."""
        raise TypeError("an EngineError is made from its message")


class KernelRefused(EngineError):
    """The kernel refused a program, a map or an attachment."""

    catalog_id = "engine.E001"


class CapacityExceeded(EngineError):
    """What should be written does not fit the maps that are loaded."""

    catalog_id = "engine.E002"


class PinsUnusable(EngineError):
    """Pinned programs or maps are not what this version can go on with."""

    catalog_id = "engine.E003"


class BadSnapshotPart(EngineError):
    """A part of a snapshot has not the shape it must have."""

    catalog_id = "engine.E004"


CATALOG: dict[str, ErrorKind] = {
    # engine: the message comes from the extension whole
    "engine.E001": ErrorKind(
        "{message}", "Run `clearway doctor`; it says what this kernel lacks and how to mend it.", MACHINE_CANNOT
    ),
    "engine.E002": ErrorKind(
        "{message}", "Remove a list (`clearway feed remove NAME`) or give the machine more memory.", MACHINE_CANNOT
    ),
    "engine.E003": ErrorKind(
        "{message}", "Take the gateway off with `clearway detach --name NAME`, then start it again.", MACHINE_CANNOT
    ),
    "engine.E004": ErrorKind(
        "{message}", "The old policy stands. `clearway feed update` compiles the lists anew.", MACHINE_CANNOT, True
    ),
    # store: the state directory and its database
    "store.E001": ErrorKind(
        "the database is locked by another process for more than {seconds} s: {path}",
        "Find it with `fuser -v {path}`, end it, and try again.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E002": ErrorKind(
        "no space left where the state is kept: {path}",
        "Make room (`df -h {path}`) and try again; nothing was stored, the old policy stands.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E003": ErrorKind(
        "the state directory cannot be read and written by {user}: {path}",
        "Use sudo, or name a directory of yours with --state DIR.",
        MACHINE_CANNOT,
    ),
    "store.E004": ErrorKind(
        "the database is damaged or is none: {path} ({detail})",
        "Put it back from a backup; or move it away (`mv {path} {path}.damaged`) and start with an empty one. "
        "A running gateway enforces on.",
        MACHINE_CANNOT,
    ),
    "store.E005": ErrorKind(
        "the database was written by a newer Clearway (migration {migration}): {path}",
        "Install that version or a later one.",
        MACHINE_CANNOT,
    ),
    "store.E006": ErrorKind(
        "rows of {table} are never changed or deleted",
        "Write another decision; `clearway history` shows both.",
        MISUSE,
    ),
    "store.E007": ErrorKind(
        "the database server cannot be used: {detail}",
        "Check CLEARWAY_DATABASE and that the server runs.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E008": ErrorKind(
        "CLEARWAY_DATABASE is no database address that is known: {value}",
        "Write postgresql://USER:PASSWORD@HOST:PORT/NAME, or unset it for SQLite in the state directory.",
        MISUSE,
    ),
    "store.E009": ErrorKind(
        "PostgreSQL is asked for, and its driver is not installed",
        "Install it: pip install 'clearway[postgresql]'.",
        MACHINE_CANNOT,
    ),
    "store.E010": ErrorKind(
        "another command has been writing to {path} for more than {seconds} s (pid {pid})",
        "Wait for it, or end it, and try again.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E011": ErrorKind(
        "nothing is stored in {path} yet",
        "Name the state directory with --state DIR, or begin with `clearway feed add` or `clearway run`.",
        ANSWER_IS_NO,
    ),
    "store.E012": ErrorKind(
        "{path}: {detail}",
        "Check the disk and its rights, and try again; nothing was stored.",
        MACHINE_CANNOT,
        True,
    ),
    # store: requests and decisions
    "store.E020": ErrorKind("{field}: {detail}", "See `clearway {command} --help` for an example.", MISUSE),
    "store.E021": ErrorKind(
        "{prefix} is too wide: a single entry holds at most a /{shortest}",
        "Write the prefixes that are meant, one by one, or put them into a list (`clearway feed add`).",
        MISUSE,
    ),
    "store.E022": ErrorKind(
        "{prefix} covers {inside}, which is inside this gateway",
        "Block addresses outside; to cut off a host inside, block its single address.",
        MISUSE,
    ),
    "store.E023": ErrorKind(
        "{name} is a name, and here an address is needed",
        "Names can be blocked, unblocked and explained; --live asks about the packets of an address.",
        MISUSE,
    ),
    "store.E024": ErrorKind(
        "{limit} single entries are in force, and no more fit",
        "Lift some (`clearway unblock`), or put them into a list (`clearway feed add`).",
        ANSWER_IS_NO,
    ),
    "store.E025": ErrorKind(
        "{limit} grants are in force, and no more fit",
        "Revoke some (`clearway revoke`), or grant a wider prefix in place of many.",
        ANSWER_IS_NO,
    ),
    "store.E026": ErrorKind(
        "{target} is still held by {holder}",
        "Say until when it is to be spared: clearway unblock {target} --until 7d.",
        MISUSE,
    ),
    "store.E027": ErrorKind(
        "nothing blocks {target}", "`clearway explain {target}` shows every rule that touches it.", ANSWER_IS_NO
    ),
    "store.E028": ErrorKind(
        "no grant stands at {prefix}{near}", "`clearway explain {prefix}` shows the grants that touch it.", ANSWER_IS_NO
    ),
    "store.E029": ErrorKind(
        "a list named {name} exists, from {source}",
        "Fetch it again with `clearway feed update {name}`, or remove it first with `clearway feed remove {name}`.",
        ANSWER_IS_NO,
    ),
    "store.E030": ErrorKind(
        "there is no list named {name}", "`clearway feed list` shows those there are.", ANSWER_IS_NO
    ),
    "store.E032": ErrorKind(
        "decision {decision} is stored, not enforced yet; the old policy stands: {why}",
        "See to what it names, then run `clearway feed update`; a running gateway tries again by itself.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E033": ErrorKind(
        "list {name} is stored and not compiled yet",
        "`clearway feed update` compiles the lists; a running gateway does so by itself.",
        MACHINE_CANNOT,
        True,
    ),
    "store.E034": ErrorKind(
        "{name} is a public suffix: everything that anybody registers below it would be refused",
        "Block the names that are meant, or the one name alone: --scope exact.",
        MISUSE,
    ),
    "store.E035": ErrorKind(
        "{name} covers {public}, which stands on the wire for every site of a provider whose name is encrypted",
        "Block the names that are meant; of an encrypted hello only this shared one can be seen.",
        MISUSE,
    ),
    "store.E040": ErrorKind(
        "the new version of list {name} is quarantined by rule {rule}: {sentence}; that of {at} stands until {until}",
        "Look at it: clearway feed quarantine show {name}. Then take it (… release {name}), or not (… discard {name}); "
        "feed set {name} --set changes what the rule allows.",
        ANSWER_IS_NO,
    ),
    "store.E041": ErrorKind(
        "nothing of list {name} waits in quarantine",
        "`clearway feed quarantine list` shows what does; --all, what was decided.",
        ANSWER_IS_NO,
    ),
    "store.E042": ErrorKind(
        "what list {name} got cannot be released: by rule {rule} there is nothing in it that could be enforced",
        "Wait for the next fetch, or look at the source: clearway feed update {name}.",
        ANSWER_IS_NO,
    ),
    "store.E043": ErrorKind(
        "the source of list {name} still gives the version that decision {decision} rolled back from; it is not taken",
        "The version before it stands until {until}. To go forward: clearway feed rollback {name} {version}.",
        ANSWER_IS_NO,
        True,
    ),
    "store.E044": ErrorKind(
        "the source of list {name} still gives what decision {decision} discarded; it is not taken",
        "The version before it stands until {until}. Look at the source, or change it: clearway feed set {name}.",
        ANSWER_IS_NO,
        True,
    ),
    "store.E045": ErrorKind(
        "list {name} has no version {version}",
        "`clearway feed versions {name}` shows those that are kept.",
        ANSWER_IS_NO,
    ),
    "store.E046": ErrorKind(
        "version {version} of list {name} is what is wanted already",
        "`clearway feed versions {name}` shows the others.",
        ANSWER_IS_NO,
    ),
    "store.E047": ErrorKind(
        "list {name} is {state} already", "`clearway feed list` shows how each list stands.", ANSWER_IS_NO
    ),
    "store.E048": ErrorKind(
        "{target} is not excluded from lists", "`clearway feed excluded` shows what is.", ANSWER_IS_NO
    ),
    "store.E049": ErrorKind(
        "{limit} addresses and names are {what} already, as many as can be",
        "Take out what is over, or one prefix in place of many.",
        ANSWER_IS_NO,
    ),
    "store.E050": ErrorKind(
        "{target} is not protected by a decision of yours{near}",
        "`clearway feed protected list` shows what is, and whence.",
        ANSWER_IS_NO,
    ),
    "store.E051": ErrorKind(
        "{target} is protected already, by decision {decision}",
        "`clearway feed protected list` shows what is.",
        ANSWER_IS_NO,
    ),
    "store.E052": ErrorKind(
        "{key} is nothing that can be set for a list", "Choose one of {known}: --set KEY=VALUE.", MISUSE
    ),
    "store.E053": ErrorKind("{pair} is not of the form {form}", "Write it so: {option} {form}.", MISUSE),
    "store.E054": ErrorKind(
        "the picture cannot be written to {path}: {detail}",
        "Name a file that ends in .png, .svg or .pdf, in a folder that you may write to.",
        MISUSE,
    ),
    # policy: what a person writes
    "policy.E001": ErrorKind(
        "{value} is no address and no prefix", "Write 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32.", MISUSE
    ),
    "policy.E002": ErrorKind(
        "{value} has bits set beyond its length", "Write {cut} if the network is meant, or the address alone.", MISUSE
    ),
    "policy.E003": ErrorKind(
        "{value} names a zone, which means something on its own machine only", "Write {without}.", MISUSE
    ),
    "policy.E004": ErrorKind(
        "{value} is no time and no duration", "Write 30m, 2h, 7d, or RFC 3339: 2030-01-31T12:00:00Z.", MISUSE
    ),
    "policy.E005": ErrorKind(
        "{value} is over already: it is {now}", "Name a time to come, or a duration such as 7d.", MISUSE
    ),
    "policy.E006": ErrorKind("{value} is none of the words there are", "Choose one of {known}.", MISUSE),
    "policy.E007": ErrorKind(
        "an entry for {target} without an end", "Say until when: --until 7d. Nothing is refused for good.", MISUSE
    ),
    "policy.E008": ErrorKind(
        "{value} is no address, no prefix and no name",
        "Write names in ASCII with at least one dot; others as A-labels (xn--…).",
        MISUSE,
    ),
    # policy: compiled snapshots
    "policy.E010": ErrorKind(
        "{part} of the snapshot in {path} is damaged: {detail}",
        "The last good policy stands. `clearway feed update` compiles the lists anew.",
        MACHINE_CANNOT,
        True,
    ),
    "policy.E011": ErrorKind(
        "{path} is no snapshot of Clearway: {detail}",
        "The last good policy stands. `clearway feed update` compiles the lists anew.",
        MACHINE_CANNOT,
        True,
    ),
    "policy.E012": ErrorKind(
        "the snapshot in {path} has {what} {found}, and this version works with {wanted}",
        "The last good policy stands. `clearway feed update` compiles the lists for this version.",
        MACHINE_CANNOT,
        True,
    ),
    "policy.E013": ErrorKind(
        "{path} is no compiled policy: {detail}",
        "A compiled policy is the folder that `clearway status --json` names as snapshot.path: snapshots/current in a "
        "state directory. Leave --policy out to judge by what is wanted now in --state DIR.",
        MISUSE,
    ),
    # feeds: lists from elsewhere; a refused list changes nothing
    "feeds.E001": ErrorKind("{value} is no format of lists", "Choose one of {known} with --format.", MISUSE),
    "feeds.E002": ErrorKind(
        "{origin} holds no entry ({lines} lines)",
        "Look at it: it may have moved or ended. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E003": ErrorKind(
        "{origin} is {what}, not a list",
        "Open it in a browser: it may want a key, or have moved. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E004": ErrorKind(
        "{malformed} of {lines} lines of {origin} cannot be read as {format}; the first is line {number}: {text}",
        "Mend those lines, or name another --format. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E005": ErrorKind(
        "{origin} holds {prefix}, wider than the /{limit} that a list may refuse at once",
        "Take that line out of the list. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E006": ErrorKind(
        "{origin} holds {prefix}, which covers {inside}, inside this gateway",
        "Take that line out of the list. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E007": ErrorKind(
        "{origin} is larger than {limit_mib} MiB", "Split it, or take a list without redundant entries.", ANSWER_IS_NO
    ),
    "feeds.E008": ErrorKind(
        "{origin} is compressed and cannot be unpacked: {detail}",
        "Fetch it again, or give the plain list. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E009": ErrorKind(
        "{origin} is no text: {detail}", "Give a list in UTF-8 or ASCII. Nothing of it is applied.", ANSWER_IS_NO, True
    ),
    "feeds.E010": ErrorKind(
        "{origin} cannot be fetched: {detail}",
        "Check the address and the network. The last good list stays in force until it runs out.",
        MACHINE_CANNOT,
        True,
    ),
    "feeds.E011": ErrorKind(
        "the server of {origin} answered {status}",
        "Check the address; some sources want a key. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E012": ErrorKind(
        "{value} is no source of a list",
        "Name a file, - for standard input, or an address that begins with https://, http://, axfr://, taxii+https:// "
        "or misp+https://.",
        MISUSE,
    ),
    "feeds.E013": ErrorKind("{path} cannot be read: {detail}", "Check the path and its rights.", MACHINE_CANNOT),
    "feeds.E014": ErrorKind(
        "the stored entries in {path} are missing or damaged: {detail}",
        "Fetch the list again: clearway feed update NAME.",
        MACHINE_CANNOT,
        True,
    ),
    "feeds.E016": ErrorKind(
        "{origin} holds everything below {name}, a public suffix: whoever registers there would be refused",
        "Take that line out of the list. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E017": ErrorKind(
        "{origin} holds {name}, and with it {public}, which stands for every site of a provider that encrypts names",
        "Take that line out of the list. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E018": ErrorKind(
        "{origin} is not {format}: it reads as {best}",
        "Give --format {best}, or leave --format out. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E019": ErrorKind(
        "{origin} has more than {lines} lines that are no usual entry of its format",
        "Look at it: it may be a list of URLs, or no list. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E020": ErrorKind(
        "{origin} has no header with a column {wanted}",
        "Name the column that holds the entries: --format csv:COLUMN.",
        ANSWER_IS_NO,
    ),
    "feeds.E021": ErrorKind(
        "{origin} is not usable as JSON: {detail}",
        "Fetch it again: it may be cut off. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E022": ErrorKind(
        "{origin} is JSON, but no document of the format {format}",
        "`clearway feed formats` shows those there are. Nothing of it is applied.",
        ANSWER_IS_NO,
    ),
    "feeds.E023": ErrorKind(
        "{origin} is of no format that is read; its first line: {first}",
        "`clearway feed formats` shows those there are; name one with --format. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E024": ErrorKind(
        "{origin} is quarantined by rule {rule}: {sentence}: {detail}",
        "Nothing of it is applied; `clearway feed check {source}` shows all that was found. {way_out}",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E025": ErrorKind(
        "{key} is no number that a list can be judged by",
        "Choose one of {known}, as KEY=VALUE.",
        MISUSE,
    ),
    "feeds.E026": ErrorKind("{key} cannot be {value}: it is {means}", "Give {span}.", MISUSE),
    "feeds.E027": ErrorKind(
        "{path} cannot stand for the last good list: {why}",
        "Name a file that was read before, or leave --last-good out.",
        MISUSE,
    ),
    "feeds.E028": ErrorKind(
        "there is no list at {path}: {detail}", "Name a file, a URL, or - for standard input.", MISUSE
    ),
    "feeds.E029": ErrorKind(
        "{value} is neither a prefix nor a name",
        "Give --protect an address, ADDRESS/LENGTH, or a name of two labels or more.",
        MISUSE,
    ),
    # feeds: getting a list from where it is published
    "feeds.E030": ErrorKind(
        "{origin} leads on to {target}, {why}",
        "Name the address where the list is now. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E031": ErrorKind(
        "{origin} does not prove who it is: {detail}",
        "Nothing was read. Check the name, and this machine's clock and certificates; a private authority of your own "
        "is named by SSL_CERT_FILE.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E032": ErrorKind(
        "{origin} is not what was pinned: its SHA-256 is {found}, wanted is {wanted}",
        "If it is meant to have changed, pin the new one. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E033": ErrorKind(
        "{origin} announced {announced} bytes and sent {sent}",
        "It was cut off or put together wrongly. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E034": ErrorKind(
        "{origin} came in the encoding {encoding}, which nobody asked for",
        "Ask its publisher for the plain list, or one in gzip. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E035": ErrorKind(
        "the key in {path} cannot be used: {detail}",
        'A zone wants BIND\'s `key "name" {{ algorithm hmac-sha256; secret "…"; }};`, a server user:password, '
        "`Header-Name: value`, or a bare token; in a file that the owner of the state directory can read, and others "
        "cannot: as that owner a gateway fetches.",
        MISUSE,
    ),
    "feeds.E036": ErrorKind(
        "the key for {origin} would cross the network in clear",
        "Name an address that begins with https, or leave the key out.",
        MISUSE,
    ),
    "feeds.E037": ErrorKind(
        "the server of {origin} refuses the transfer: {detail}",
        "Check the zone's name, the key and whom that server lets transfer. The last good list stays in force until it "
        "runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E038": ErrorKind(
        "{origin} gave no whole zone: {detail}",
        "Nothing of it is applied. The last good list stays in force until it runs out.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E039": ErrorKind(
        "{origin} has more than {limit} {what}", "Take a smaller source. Nothing of it is applied.", ANSWER_IS_NO
    ),
    "feeds.E040": ErrorKind(
        "{origin} is no TAXII 2.1 collection: {detail}",
        "Name the collection: taxii+https://HOST/ROOT/collections/ID/. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E041": ErrorKind(
        "{origin} is no MISP feed: {detail}",
        "Name the folder that holds manifest.json: misp+https://HOST/PATH/. Nothing of it is applied.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E042": ErrorKind(
        "{value} is no proxy that lists can be fetched through",
        "Name one that begins with http:// or https://, or `none`; zones are transferred without one.",
        MISUSE,
    ),
    # feeds: addresses that many share
    "feeds.E046": ErrorKind("{value} is no vendor of shared ranges that is known", "Choose one of {known}.", MISUSE),
    "feeds.E047": ErrorKind(
        "{origin} holds no address range", "Check the address and --format. Nothing of it is applied.", ANSWER_IS_NO
    ),
    "feeds.E048": ErrorKind(
        "{target} touches {range}, a front end of {vendor} that many sites share ({source}, {age})",
        "Refuse the site by its name: clearway block NAME --reason REASON --until TIME. Where the range is wrong: "
        "clearway cdn update, or clearway cdn remove {name}.",
        ANSWER_IS_NO,
    ),
    "feeds.E049": ErrorKind(
        "{target} touches {range}, which {vendor} lets to many tenants ({source}, {age}): {detail}",
        "Name a single address and --until 24h at most, and block it again while it is needed; or its name. Where the "
        "range is wrong: clearway cdn update, or clearway cdn remove {name}.",
        ANSWER_IS_NO,
    ),
    "feeds.E050": ErrorKind(
        "there is no source of shared ranges named {name}", "`clearway cdn list` shows those there are.", ANSWER_IS_NO
    ),
    "feeds.E051": ErrorKind(
        "there is a source of shared ranges named {name} already: {source}",
        "Choose another name, or remove that one: clearway cdn remove {name}.",
        ANSWER_IS_NO,
    ),
    "feeds.E052": ErrorKind(
        "the ranges of {name} are not taken, by rule {rule}: {detail}",
        "Those before stay. Look at {source}; when it is right all the same: clearway cdn {command} {name} --accept "
        "{rule}.",
        ANSWER_IS_NO,
        True,
    ),
    "feeds.E053": ErrorKind(
        "{vendor} publishes its ranges at no address that stays the same: {note}",
        "Name a file or URL: clearway cdn add NAME SOURCE --vendor {name}.",
        ANSWER_IS_NO,
    ),
    "feeds.E054": ErrorKind(
        "names cannot be asked of {resolver}: {detail}",
        "Name a resolver that answers: --resolver ADDRESS or ADDRESS:PORT.",
        MACHINE_CANNOT,
        True,
    ),
    "feeds.E055": ErrorKind(
        "there are no names to ask in {path}: {detail}", "Give a file with a name a line; # begins a note.", MISUSE
    ),
    # setup: what this machine is
    "setup.E001": ErrorKind(
        "this machine cannot run a gateway: {name}: {found}",
        "{mend}. `clearway doctor` shows all of it.",
        MACHINE_CANNOT,
    ),
    "setup.E002": ErrorKind(
        "{path} holds no recorded answer: {detail}",
        "Record one on the machine in question: clearway doctor --json > answer.json.",
        MISUSE,
    ),
    # gateway: ports, rights, the daemon
    "gateway.E001": ErrorKind(
        "there is no port {port} in this network namespace", "`ip link` shows the ports there are.", MACHINE_CANNOT
    ),
    "gateway.E002": ErrorKind(
        "inside and outside are the same port: {port}", "A wire has two ends: name two different ports.", MISUSE
    ),
    "gateway.E003": ErrorKind(
        "the ports differ in MTU: {inside} has {inside_mtu}, {outside} has {outside_mtu}",
        "Make them equal, or large packets are lost: ip link set {outside} mtu {inside_mtu}.",
        MACHINE_CANNOT,
    ),
    "gateway.E005": ErrorKind(
        "the programs of gateway {name} still stand on other ports than these",
        "Take them off first (clearway detach --name {name}), or give this gateway another --name.",
        MACHINE_CANNOT,
    ),
    "gateway.E006": ErrorKind(
        "{port} belongs to {master}",
        "A port of the wire is nobody else's: ip link set {port} nomaster.",
        MACHINE_CANNOT,
    ),
    "gateway.E007": ErrorKind(
        "a gateway runs already, as process {pid}: it holds {held}",
        "Stop it first: kill {pid}, or take it off the wire with `clearway detach --name {name}`.",
        MACHINE_CANNOT,
    ),
    "gateway.E008": ErrorKind(
        "the programs of gateway {name} stand on {port}",
        "Take them off first: clearway detach --name {name}.",
        MACHINE_CANNOT,
    ),
    "gateway.E009": ErrorKind(
        "{name!r} is no name for a gateway",
        "Use up to 32 small letters, digits and '-', a letter or digit first.",
        MISUSE,
    ),
    "gateway.E010": ErrorKind("{hook!r} is no hook", "Choose auto, tcx or xdp.", MISUSE),
    "gateway.E011": ErrorKind(
        "the file system for pins cannot be used: {why}",
        "Start it as root outside of any sandbox; by hand: mount -t bpf bpf /sys/fs/bpf.",
        MACHINE_CANNOT,
    ),
    "gateway.E012": ErrorKind(
        "there is no account {user} on this machine", "Make it (useradd --system {user}) or leave --user away.", MISUSE
    ),
    "gateway.E013": ErrorKind(
        "user number {uid}, which the gateway runs as, cannot reach {path}: {why}",
        "Open it (chmod a+rX {path}), or run with --user root.",
        MACHINE_CANNOT,
    ),
    "gateway.E014": ErrorKind(
        "the gateway, process {pid}, did not end within {seconds} s",
        "It still enforces. End it with kill -9 {pid}, then run `clearway detach --name {name}` again.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E015": ErrorKind(
        "no gateway answers on {path}",
        "Start one: clearway run --inside IF --outside IF --state {path}.",
        ANSWER_IS_NO,
        True,
    ),
    "gateway.E016": ErrorKind(
        "the process that loads programs has ended ({why}); the last policy is enforced on",
        "Start the gateway again: it takes over what the kernel holds.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E017": ErrorKind(
        "the process that compiles lists has ended ({why}); the old policy stands",
        "Try again; when it keeps happening, give the machine more memory.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E019": ErrorKind("the gateway knows no {method} {path}", "Are both of the same version?", MISUSE),
    "gateway.E020": ErrorKind(
        "the gateway did not answer within {seconds} s",
        "It may be loading a large list; `clearway status` shows whether it is done.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E021": ErrorKind(
        "{port} carries no Ethernet frames of its own", "Name a port with a wire.", MACHINE_CANNOT
    ),
    "gateway.E025": ErrorKind(
        "{path} is no directory for a gateway's state: {why}",
        "Name one that holds nothing else: --state DIR.",
        MISUSE,
    ),
    "gateway.E026": ErrorKind(
        "the TAP {name}, in which packets wait for their name, cannot be made: {why}",
        "Load the module (modprobe tun) and see that /dev/net/tun is there. Until then names are not enforced.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E027": ErrorKind(
        "the inspector, which reads names, does not answer: {why}",
        "Address rules are enforced; --on-failure says what becomes of names. `clearway status` shows when it is back.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E028": ErrorKind("{value!r} is no {what}", "Choose {choices}.", MISUSE),
    "gateway.E029": ErrorKind(
        "the programs that hold the newest lists wait for {port}, which is gone, and no others can be asked",
        "Bring the port back; `clearway status` shows it. `clearway explain` without --live answers from the lists.",
        MACHINE_CANNOT,
        True,
    ),
    "gateway.E024": ErrorKind(
        "the gateway may not be spoken to by this user: {path}", "Use sudo, or join the group clearway.", MACHINE_CANNOT
    ),
    "gateway.E023": ErrorKind(
        "something unforeseen went wrong in the gateway: {what}",
        "The policy in the kernel stands. `clearway status` shows it; the daemon's log has the details.",
        MACHINE_CANNOT,
        True,
    ),
    # lab and demo
    "lab.E001": ErrorKind("no right to make network namespaces here", "They need root: {command}", MACHINE_CANNOT),
    "lab.E002": ErrorKind("the lab has no {place}", "It has: {places}.", MISUSE),
    "lab.E003": ErrorKind(
        "{name!r} is no name for a lab", "Use up to 24 small letters, digits and '-', a letter or digit first.", MISUSE
    ),
    "lab.E004": ErrorKind("no lab named {name} is up", "Build it: clearway lab up --name {name}.", ANSWER_IS_NO, True),
    "lab.E005": ErrorKind("the lab's servers did not start", "{log} says why.", MACHINE_CANNOT),
    "lab.E006": ErrorKind("{program} is not installed", "apt install {package}", MACHINE_CANNOT),
    "lab.E007": ErrorKind(
        "not all that the demo promises was seen: {missed}",
        "Look around in the lab: clearway demo --keep; machine and rights: clearway doctor.",
        ANSWER_IS_NO,
        True,
    ),
    "lab.E008": ErrorKind(
        "the gateway did not come up in the lab: {detail}", "{log} has its last words; clearway doctor.", MACHINE_CANNOT
    ),
    "store.E031": ErrorKind(
        "the grant of {prefix} is held by {organisation}",
        "Name that organisation, or leave --organisation out.",
        ANSWER_IS_NO,
    ),
    # bench: measuring
    "bench.E001": ErrorKind(
        "{value} is no figure", "Choose among {known}; `clearway bench list` says what each one is.", MISUSE
    ),
    "bench.E002": ErrorKind(
        "figures of one core need two, and this process may use {count}",
        "Give it a second core, or name other figures with --only.",
        MACHINE_CANNOT,
    ),
    "bench.E003": ErrorKind(
        "the wire to measure on cannot be built: {detail}",
        "`clearway doctor` names what this machine lacks.",
        MACHINE_CANNOT,
    ),
    "bench.E004": ErrorKind(
        "{command} failed: {detail}",
        "Run it by hand to see why; leave its figure out with --only meanwhile.",
        MACHINE_CANNOT,
    ),
    "bench.E005": ErrorKind(
        "this kernel has no reader of names: they are held for the inspector instead",
        "Boot a kernel of 6.9 or later; `clearway doctor` says how.",
        MACHINE_CANNOT,
    ),
    "lab.E009": ErrorKind("a lab cannot last for {value}", "Write 30m or 2h; 7d at most.", MISUSE),
    "lab.E010": ErrorKind("there is no program {program} here", "Write a program and its arguments.", MISUSE),
    "lab.E011": ErrorKind(
        "another demo runs on this machine, as process {pid}", "Wait for it, or end it: kill {pid}.", ANSWER_IS_NO, True
    ),
    # inspect, replay: captures
    "inspect.E001": ErrorKind(
        "{path} is no capture: it begins neither as pcap nor as pcapng",
        "Decompress it first if it is compressed; `file {path}` says what it is.",
        MISUSE,
    ),
    "inspect.E002": ErrorKind(
        "{path} was captured on a link layer that is not read, number {number}",
        "Ethernet, raw IP, Linux cooked, netfilter's log, loopback, PPP, PPPoE and Cisco HDLC captures are read.",
        MISUSE,
    ),
    "inspect.E003": ErrorKind("{path} cannot be read: {detail}", "Name a capture file that you may read.", MISUSE),
    "inspect.E004": ErrorKind(
        "{path} ends within a record, after {frames} frames; what it holds was read",
        "It was cut or is still being written. Copy it again once it is complete.",
        ANSWER_IS_NO,
        True,
    ),
    "inspect.E005": ErrorKind(
        "{path} is damaged after {frames} frames: a length that no record has; what precedes it was read",
        "Copy it again from where it was captured.",
        ANSWER_IS_NO,
    ),
    # cli
    "cli.E001": ErrorKind("{message}", "See `{command} --help`.", MISUSE),
    "cli.E002": ErrorKind(
        "no gateway runs on {path}",
        "Start one: clearway run --inside IF --outside IF --state {path}.",
        ANSWER_IS_NO,
        True,
    ),
    "cli.E003": ErrorKind(
        "`{command}` needs a running gateway, and none runs on {path}",
        "Start one: clearway run --inside IF --outside IF --state {path}.",
        ANSWER_IS_NO,
        True,
    ),
    "cli.E005": ErrorKind(
        "the gateway on {path} ended before it answered",
        "`clearway history` shows whether it was stored; what is stored is enforced at the next start.",
        MACHINE_CANNOT,
        True,
    ),
    "cli.E006": ErrorKind("there is no decision {number}", "`clearway history` shows those there are.", ANSWER_IS_NO),
    "cli.E007": ErrorKind(
        "what this command says cannot be written to standard output: {detail}",
        "Send it elsewhere, or make room there. What was decided stands: `clearway history` shows it.",
        MACHINE_CANNOT,
    ),
    "cli.E004": ErrorKind(
        "unexpected: {detail}",
        "This is a defect. Run it again with CLEARWAY_TRACEBACK=1 and report what it prints.",
        MACHINE_CANNOT,
    ),
}
