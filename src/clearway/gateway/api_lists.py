"""What the API can do with lists: method, path, request, the command that it belongs to, and who answers.

Every one of them is a row before it acts, and is answered once the kernel has what follows from it.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from clearway.gateway.base_work import BaseWork
from clearway.policy.model import Prefix
from clearway.store import excluded, feed_change, lists, protect, quarantine, requests, subscribe, versions
from clearway.store.change import Change, ListHit, NameHit

Answer = Callable[[BaseWork, str, Any, str], Awaitable[dict[str, Any]]]
"""Asked with the list's name, the request, and who asks."""
Decide = Callable[[BaseWork, str, Any, str, datetime], Change]


def _decided(decide: Decide) -> Answer:
    async def answer(work: BaseWork, name: str, request: Any, actor: str) -> dict[str, Any]:
        return await work.decided(lambda now: decide(work, name, request, actor, now))

    return answer


async def _add(work: BaseWork, _name: str, request: requests.FeedAddRequest, actor: str) -> dict[str, Any]:
    return await work.add(request, actor)


async def _update(work: BaseWork, name: str, request: requests.FeedUpdateRequest, actor: str) -> dict[str, Any]:
    return await work.update(name, request, actor)


async def _batch(work: BaseWork, _name: str, request: requests.FeedBatchRequest, actor: str) -> dict[str, Any]:
    return await work.batch(request, actor)


def _remove(_work: BaseWork, name: str, request: requests.FeedRemoveRequest, actor: str, now: datetime) -> Change:
    return lists.remove(name, request, now, actor)


def _enforce(_work: BaseWork, name: str, request: requests.FeedNoteRequest, actor: str, now: datetime) -> Change:
    return subscribe.feed_observe(name, False, now, actor, request.note)


def _observe(_work: BaseWork, name: str, request: requests.FeedNoteRequest, actor: str, now: datetime) -> Change:
    return subscribe.feed_observe(name, True, now, actor, request.note)


def _release(_work: BaseWork, name: str, request: requests.FeedNoteRequest, actor: str, now: datetime) -> Change:
    return quarantine.release(name, now, actor, request.note)


def _discard(_work: BaseWork, name: str, request: requests.FeedNoteRequest, actor: str, now: datetime) -> Change:
    return quarantine.discard(name, now, actor, request.note)


def _rollback(work: BaseWork, name: str, request: requests.FeedRollbackRequest, actor: str, now: datetime) -> Change:
    return versions.rollback(work.state, name, request.version, now, actor, request.note)


def _set(_work: BaseWork, name: str, request: requests.FeedSetRequest, actor: str, now: datetime) -> Change:
    return feed_change.feed_set(name, request, now, actor)


def _exclude(work: BaseWork, _name: str, request: requests.ExcludeRequest, actor: str, now: datetime) -> Change:
    target = excluded.target_of(request.target, request.scope)
    return excluded.exclude(request, now, actor, _hits(work, target, now))


def _include(_work: BaseWork, _name: str, request: requests.TargetRequest, actor: str, now: datetime) -> Change:
    return excluded.include(request, now, actor)


def _protect(work: BaseWork, _name: str, request: requests.TargetRequest, actor: str, now: datetime) -> Change:
    target = excluded.target_of(request.target, None)
    return protect.protect(request, now, actor, _hits(work, target, now))


def _unprotect(_work: BaseWork, _name: str, request: requests.TargetRequest, actor: str, now: datetime) -> Change:
    return protect.unprotect(request, now, actor)


def _hits(work: BaseWork, target: excluded.Target, now: datetime) -> Sequence[ListHit | NameHit]:
    if isinstance(target, Prefix):
        return lists.holders(work.state, target, now)
    return lists.name_holders(work.state, target, now)


ROUTES: tuple[tuple[str, str, type[Any], str, Answer], ...] = (
    ("POST", "/v1/feeds", requests.FeedAddRequest, "feed add", _add),
    ("POST", "/v1/feeds/batch", requests.FeedBatchRequest, "feed load", _batch),
    ("POST", "/v1/feeds/{name}/update", requests.FeedUpdateRequest, "feed update", _update),
    ("DELETE", "/v1/feeds/{name}", requests.FeedRemoveRequest, "feed remove", _decided(_remove)),
    ("POST", "/v1/feeds/{name}/enforce", requests.FeedNoteRequest, "feed enforce", _decided(_enforce)),
    ("POST", "/v1/feeds/{name}/observe", requests.FeedNoteRequest, "feed observe", _decided(_observe)),
    ("POST", "/v1/feeds/{name}/release", requests.FeedNoteRequest, "feed quarantine release", _decided(_release)),
    ("POST", "/v1/feeds/{name}/discard", requests.FeedNoteRequest, "feed quarantine discard", _decided(_discard)),
    ("POST", "/v1/feeds/{name}/rollback", requests.FeedRollbackRequest, "feed rollback", _decided(_rollback)),
    ("POST", "/v1/feeds/{name}/settings", requests.FeedSetRequest, "feed set", _decided(_set)),
    ("POST", "/v1/excluded", requests.ExcludeRequest, "feed exclude", _decided(_exclude)),
    ("DELETE", "/v1/excluded", requests.TargetRequest, "feed include", _decided(_include)),
    ("POST", "/v1/protected", requests.TargetRequest, "feed protected add", _decided(_protect)),
    ("DELETE", "/v1/protected", requests.TargetRequest, "feed protected remove", _decided(_unprotect)),
)
