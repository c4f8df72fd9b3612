"""The short path: one decision from its request into the database and the kernel, in a thread that does nothing else.

No flip, no compilation and no list is ever waited for here. The row stands before the kernel changes; where that fails
then, the enforcer remembers it, and the watch tries again.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from clearway.config import StateDirectory
from clearway.gateway.clock import Clock
from clearway.gateway.enforcer import Enforcer
from clearway.policy import name_limits
from clearway.policy.model import Prefix
from clearway.policy.shared import NOTHING_SHARED
from clearway.store import decide, lists, shared_ranges, wanted
from clearway.store.change import Change
from clearway.store.requests import BlockRequest, BypassRequest, GrantRequest, RevokeRequest, UnblockRequest

log = logging.getLogger(__name__)


class Decisions:
    """Blocking calls, all from one thread. ClearwayError with nothing changed when a request is refused."""

    def __init__(self, state: StateDirectory, inside: tuple[Prefix, ...], clock: Clock, enforcer: Enforcer) -> None:
        self._state = state
        self._inside = inside
        self._clock = clock
        self._enforcer = enforcer
        name_limits.warm()  # or the first name that is blocked would wait for it

    def block(self, request: BlockRequest, actor: str) -> dict[str, Any]:
        ranges = shared_ranges.in_force(self._state)
        return self._enforced(lambda now: decide.block(request, now, actor, inside=self._inside, shared=ranges))

    def unblock(self, request: UnblockRequest, actor: str) -> dict[str, Any]:
        def decided(now: datetime) -> Change:
            return decide.unblock(
                request,
                now,
                actor,
                holders=lambda prefix: lists.holders(self._state, prefix, now),
                name_holders=lambda entry: lists.name_holders(self._state, entry, now),
            )

        return self._enforced(decided)

    def grant(self, request: GrantRequest, actor: str) -> dict[str, Any]:
        return self._enforced(lambda now: decide.grant(request, now, actor, inside=self._inside))

    def revoke(self, request: RevokeRequest, actor: str) -> dict[str, Any]:
        return self._enforced(lambda now: decide.revoke(request, now, actor))

    def bypass(self, request: BypassRequest, actor: str) -> dict[str, Any]:
        answer = self._enforced(lambda now: decide.bypass(request, now, actor))
        log.warning("bypass %s by %s", f"on for {request.duration}" if request.on else "off", actor)
        return answer

    def _enforced(self, decided: Callable[[datetime], Change]) -> dict[str, Any]:
        now = self._clock.now()
        change = decided(now)
        shared = shared_ranges.shared_now(self._state) if change.overlay else NOTHING_SHARED
        self._enforcer.enforce(
            [(prefix, wanted.overlay_at(prefix, now, self._inside, shared)) for prefix in change.overlay],
            [(prefix, wanted.grant_at(prefix, now)) for prefix in change.green],
        )
        for name in change.names:
            self._enforcer.names.put_single(name, wanted.names_at(name, now))
        if change.bypass_until is not None:
            self._enforcer.set_bypass(change.bypass_until)
        return {**change.answer, "enforced": True}
