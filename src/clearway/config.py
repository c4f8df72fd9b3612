"""Settings, one row each, and where things lie in the state directory.

SETTINGS is the one list: options of the command line, docs/settings.md and the code read their names, defaults and
sentences here. Nothing is read at import: a setting's value is asked for when it is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pwd
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clearway.errors import ClearwayError


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. `name` is an option's name as typed, or an environment variable."""

    name: str
    unit: str  # "" where the value has none
    default: str  # as typed; "" when there is none
    sentence: str


STATE = Setting("CLEARWAY_STATE", "path", "/var/lib/clearway", "The state directory, where --state is not given.")
DATABASE = Setting(
    "CLEARWAY_DATABASE", "URL", "", "postgresql://… keeps decisions on a server; unset, SQLite in the state directory."
)
TOP_SITES = Setting(
    "CLEARWAY_TOP_SITES", "path", "", "A list of sites that all visit: no other list may hold their own names."
)
TRACEBACK = Setting("CLEARWAY_TRACEBACK", "", "", "Set to 1, an unexpected error prints its traceback.")
FILE_LIFE = Setting("--life", "duration", "30d", "How long the entries of a list read from a file are enforced.")
URL_EVERY = Setting(
    "--every", "duration", "24h", "How often a URL is fetched; its entries are enforced for twice that."
)
GATEWAY_NAME = Setting("--name", "", "main", "Names the gateway's pins, where several run on one machine.")
HOOK = Setting("--hook", "auto, tcx, xdp", "auto", "Where the programs sit; auto takes XDP on physical ports only.")
INSIDE_PREFIX = Setting("--inside-prefix", "prefix", "", "Prefixes inside; with them, inside sources are guarded.")
DROP_BOGONS = Setting("--drop-bogons", "", "no", "Drops sources from outside that nobody may use on the internet.")
OBSERVE = Setting("--observe", "", "no", "Counts and shows what would be dropped, and drops nothing.")
LINK_FOLLOW = Setting("--link-follow", "", "yes", "Takes a port down while the other one has no link.")
ON_FAILURE = Setting(
    "--on-failure",
    "open, closed",
    "open",
    "What becomes of flows whose name must be read while the inspector is away: they pass, or are dropped.",
)
ANSWERS = Setting("--answers", "on, silent", "on", "Tells those who are refused why; silent drops and says nothing.")
DNS_ANSWER = Setting(
    "--dns-answer",
    "nxdomain, refused",
    "nxdomain",
    "How a query for a refused name is answered, always with the reason.",
)
APPEAL_URL = Setting("--appeal-url", "URL", "", "Where to appeal: told to those who are refused, on their page.")
CONTACT = Setting("--contact", "text", "", "Whom to ask about a refusal, told with it: an address or telephone number.")

SETTINGS: tuple[Setting, ...] = (
    STATE,
    DATABASE,
    TOP_SITES,
    TRACEBACK,
    FILE_LIFE,
    URL_EVERY,
    GATEWAY_NAME,
    HOOK,
    INSIDE_PREFIX,
    DROP_BOGONS,
    OBSERVE,
    LINK_FOLLOW,
    ON_FAILURE,
    ANSWERS,
    DNS_ANSWER,
    APPEAL_URL,
    CONTACT,
)

WRITER_WAIT_S = 30.0
"""How long a command waits for another one that is storing something."""


def state_path(option: Path | None = None, environment: Mapping[str, str] | None = None) -> Path:
    """The state directory: the option, else CLEARWAY_STATE, else its default; absolute."""
    environment = os.environ if environment is None else environment
    return (option or Path(environment.get(STATE.name) or STATE.default)).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Paths below the state directory. Makes and owns nothing until asked to."""

    path: Path

    @property
    def database(self) -> Path:
        """Decisions and which lists there are; SQLite in WAL mode."""
        return self.path / "clearway.db"

    @property
    def feeds(self) -> Path:
        """Entries of lists as sorted arrays, a folder for each content hash."""
        return self.path / "feeds"

    @property
    def sources(self) -> Path:
        """What servers that tell of changes said last, a file for each source, so that they are asked for news only."""
        return self.path / "sources"

    @property
    def snapshots(self) -> Path:
        """Compiled policies; `current` is a link to the one that should be enforced."""
        return self.path / "snapshots"

    @property
    def keys(self) -> Path:
        """Secrets, 0700. Their thief could link the pseudonyms of inside hosts of the days whose key is kept, and find
        names that are held for a moment though no list has them."""
        return self.path / "keys"

    @property
    def socket(self) -> Path:
        """Where a running daemon answers HTTP."""
        return self.path / "clearway.sock"

    @property
    def daemon_lock(self) -> Path:
        """Held for the daemon's life; its pid inside."""
        return self.path / "daemon.lock"

    @property
    def writer_lock(self) -> Path:
        """Held by whoever stores something without a daemon, and by a daemon while it catches up; see `writing`."""
        return self.path / "writer.lock"

    @property
    def runtime(self) -> Path:
        """What the last `run` was given, and what was set on its ports before. Written by the daemon."""
        return self.path / "runtime.json"

    @property
    def inside(self) -> Path:
        """The inside prefixes of the last `run`, {"inside_prefixes": […]}."""
        return self.path / "inside.json"

    @property
    def clock(self) -> Path:
        """The largest wall time ever seen. Written by the daemon; gateway.clock reads it."""
        return self.path / "clock.json"

    @property
    def hits(self) -> Path:
        """How often lists and their entries were hit. Written by the daemon; gateway.kept_hits reads it."""
        return self.path / "hits.json"

    @property
    def events(self) -> Path:
        """Sampled drops, one JSON object a line, EVE field names."""
        return self.path / "eve.json"

    def exists(self) -> bool:
        """Something was stored here before. Raises store.E003 where this user may not look."""
        with storing(self.path):
            return self.database.exists()

    def create(self) -> None:
        """Makes the directory (0750) and those below it. Raises store.E002, store.E003 or store.E012."""
        with storing(self.path):
            made = not self.path.exists()
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            if made:
                self.path.chmod(0o750)
            for below, mode in (
                (self.feeds, 0o750),
                (self.sources, 0o750),
                (self.snapshots, 0o750),
                (self.keys, 0o700),
            ):
                if not below.exists():
                    below.mkdir(mode=mode, exist_ok=True)
                    self.adopt(below)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "not writable", str(self.path))

    def adopt(self, *paths: Path) -> None:
        """Gives what root made here, with all below it, to the directory's owner: the daemon has no rights of root.

        That owner may put a link anywhere here at any moment, so no link is ever followed below the directory.
        """
        if os.geteuid() != 0:
            return
        owner = self.path.stat()
        if owner.st_uid == 0 and owner.st_gid == 0:
            return
        for top in paths:
            with contextlib.suppress(FileNotFoundError):
                _give_away(self.path, top.relative_to(self.path), owner.st_uid, owner.st_gid)

    def inside_prefixes(self) -> tuple[str, ...]:
        """--inside-prefix of the last `run`, as text: commands without a gateway hold decisions to them too."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return tuple(str(prefix) for prefix in json.loads(self.inside.read_text())["inside_prefixes"])
        return ()

    def remember_inside(self, prefixes: Iterable[str]) -> None:
        """For `inside_prefixes`; called by `run`. Raises store.E002, E003 or E012."""
        with storing(self.path):
            beside = self.inside.with_suffix(".new")
            beside.write_text(json.dumps({"inside_prefixes": list(prefixes)}) + "\n")
            self.adopt(beside)
            beside.replace(self.inside)

    @contextlib.contextmanager
    def writing(self, wait_s: float = WRITER_WAIT_S) -> Iterator[None]:
        """Holds writer.lock. Raises store.E010 when another holds it longer than `wait_s`.

        A command takes it, looks whether a gateway runs, and stores only if none does; a daemon takes it for its last
        look at the database, just before it answers. So nothing stored is missed. Never held around a request to it.
        """
        with storing(self.path):
            descriptor = open_lock_file(self.writer_lock, 0o640)
        try:
            self.adopt(self.writer_lock)
            _lock_within(descriptor, self.path, wait_s)
            with storing(self.path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Holds the lock file of that name in the directory, after whoever has it; for steps that always end."""
        with storing(self.path):
            descriptor = open_lock_file(self.path / name, 0o640)
        try:
            self.adopt(self.path / name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def open_lock_file(path: Path, mode: int) -> int:
    """A descriptor of the lock file, made where there is none. OSError when it is a link or no regular file.

    The folder can belong to a user of fewer rights, whose link must not make root truncate what it points to.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def _give_away(directory: Path, below: Path, uid: int, gid: int) -> None:
    """Changes the owner of a file, or of a folder with all in it, by descriptors of the folders on the way."""
    with contextlib.ExitStack() as opened:
        folder: int | None = None
        for step in (str(directory), *below.parts[:-1]):
            follow = 0 if folder is None else os.O_NOFOLLOW
            folder = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=folder)
            opened.callback(os.close, folder)
        os.chown(below.name, uid, gid, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(os.stat(below.name, dir_fd=folder, follow_symlinks=False).st_mode):
            return
        for _, folders, files, inner in os.fwalk(below.name, dir_fd=folder):
            for name in (*folders, *files):
                with contextlib.suppress(FileNotFoundError):
                    os.chown(name, uid, gid, dir_fd=inner, follow_symlinks=False)


def _lock_within(descriptor: int, path: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                pid = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise ClearwayError.of("store.E010", path=path, seconds=f"{wait_s:g}", pid=pid) from None
            time.sleep(0.02)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write below `path` into store.E002, E003 and E012."""
    try:
        yield
    except OSError as error:
        raise refused(error, path) from error


def refused(error: OSError, path: Path) -> ClearwayError:
    """The error that a person is told when the operating system refuses to write at `path`."""
    where = error.filename or str(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ClearwayError.of("store.E002", path=path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ClearwayError.of("store.E003", path=path, user=user_name())
    return ClearwayError.of("store.E012", path=where, detail=error.strerror or str(error))


def user_name() -> str:
    """Who this process acts as, for a person to read."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return f"uid {os.geteuid()}"
