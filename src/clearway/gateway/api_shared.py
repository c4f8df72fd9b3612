"""What the API can do with sources of shared ranges: method, path, request, the command that it belongs to."""

from collections.abc import Awaitable, Callable
from typing import Any

from clearway.gateway.shared_work import SharedWork
from clearway.store.shared_requests import CdnAddRequest, CdnRemoveRequest, CdnUpdateRequest

Answer = Callable[[SharedWork, str, Any, str], Awaitable[dict[str, Any]]]
"""Asked with the source's name, the request, and who asks."""


async def _add(work: SharedWork, _name: str, request: CdnAddRequest, actor: str) -> dict[str, Any]:
    return await work.add(request, actor)


async def _update(work: SharedWork, name: str, request: CdnUpdateRequest, actor: str) -> dict[str, Any]:
    return await work.update(name, request, actor)


async def _remove(work: SharedWork, name: str, request: CdnRemoveRequest, actor: str) -> dict[str, Any]:
    return await work.remove(name, request, actor)


ROUTES: tuple[tuple[str, str, type[Any], str, Answer], ...] = (
    ("POST", "/v1/cdn", CdnAddRequest, "cdn add", _add),
    ("POST", "/v1/cdn/{name}/update", CdnUpdateRequest, "cdn update", _update),
    ("DELETE", "/v1/cdn/{name}", CdnRemoveRequest, "cdn remove", _remove),
)
