"""What `clearway run` was told: one frozen value, checked for shape when it is made."""

import re
from dataclasses import dataclass
from pathlib import Path

from clearway.config import GATEWAY_NAME
from clearway.errors import ClearwayError

DEFAULT_NAME = GATEWAY_NAME.default
HOOKS = ("auto", "tcx", "xdp")
ON_FAILURE = ("open", "closed")
ANSWERS = ("on", "silent")
DNS_ANSWERS = ("nxdomain", "refused")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class RunOptions:
    """Ports are interface names of the caller's network namespace; `state` is the state directory."""

    inside: str
    outside: str
    state: Path
    name: str = DEFAULT_NAME
    hook: str = "auto"
    observe: bool = False
    inside_prefixes: tuple[str, ...] = ()
    drop_bogons: bool = False
    link_follow: bool = True
    user: str | None = None
    """Account that the daemon runs as after start: None for `clearway`, or the fixed number where there is none."""
    on_failure: str = ON_FAILURE[0]
    """What becomes of packets whose name should be read while nobody is there to read it: they pass, or are dropped."""
    answers: str = ANSWERS[0]
    """Whether a refused user is told why."""
    dns_answer: str = DNS_ANSWERS[0]
    appeal_url: str | None = None
    contact: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.hook not in HOOKS:
            raise ClearwayError.of("gateway.E010", hook=self.hook)
        for what, value, choices in (
            ("failure policy", self.on_failure, ON_FAILURE),
            ("way to answer", self.answers, ANSWERS),
            ("answer of DNS", self.dns_answer, DNS_ANSWERS),
        ):
            if value not in choices:
                raise ClearwayError.of("gateway.E028", value=value, what=what, choices=" or ".join(choices))
        if self.inside == self.outside:
            raise ClearwayError.of("gateway.E002", port=self.inside)


def check_name(name: str) -> None:
    """A gateway's name becomes a folder of pins and a lock file: refused (gateway.E009) unless it is a plain word."""
    if not _NAME.fullmatch(name):
        raise ClearwayError.of("gateway.E009", name=name)
