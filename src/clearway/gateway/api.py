"""The HTTP face over the Unix socket: reads requests by store/requests.py, answers in one shape, decides nothing.

POST /v1/block, unblock, grant, revoke, bypass, probe; GET /v1/status, /v1/hits; what is about lists: api_lists.py,
about shared ranges: api_shared.py.
An error is {"error": {"id", "message", "fix", "retry"}} with 400 (misuse), 404, 409 (the answer is no) or 503.
"""

import json
import logging
import pwd
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from clearway import _engine
from clearway.errors import ANSWER_IS_NO, MACHINE_CANNOT, MISUSE, ClearwayError
from clearway.gateway import api_lists, api_shared
from clearway.gateway.base_work import BaseWork
from clearway.gateway.decisions import Decisions
from clearway.gateway.loader_client import Outcome
from clearway.gateway.shared_work import SharedWork
from clearway.policy.model import parse_word, word
from clearway.store import requests

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1 << 20
_HTTP = {ANSWER_IS_NO: 409, MISUSE: 400, MACHINE_CANNOT: 503}
_Model = TypeVar("_Model", bound=requests.Request)
_Work = TypeVar("_Work", BaseWork, SharedWork)
_Endpoint = Callable[[HttpRequest], Awaitable[JSONResponse]]


class Gateway(Protocol):
    """What the face needs of the daemon."""

    decisions: Decisions
    base_work: BaseWork
    shared_work: SharedWork

    async def in_turn(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a decision in the thread of decisions."""

    async def status(self) -> dict[str, Any]: ...

    async def hits(self) -> dict[str, Any]:
        """Hits by list and entry."""

    async def probe(self, direction: _engine.Direction, frame: bytes) -> dict[str, Outcome]:
        """One frame through the loaded programs, by hook."""


def application(gateway: Gateway) -> Starlette:
    """The ASGI application of a serving daemon."""
    short: dict[str, tuple[type[requests.Request], Callable[[Any, str], dict[str, Any]]]] = {
        "block": (requests.BlockRequest, gateway.decisions.block),
        "unblock": (requests.UnblockRequest, gateway.decisions.unblock),
        "grant": (requests.GrantRequest, gateway.decisions.grant),
        "revoke": (requests.RevokeRequest, gateway.decisions.revoke),
        "bypass": (requests.BypassRequest, gateway.decisions.bypass),
    }
    routes = [
        Route(f"/v1/{name}", _told(_short(gateway, name, model, decide)), methods=["POST"])
        for name, (model, decide) in short.items()
    ]
    routes += [
        Route("/v1/status", _told(_status(gateway)), methods=["GET"]),
        Route("/v1/probe", _told(_probe(gateway)), methods=["POST"]),
        *(
            Route(path, _told(_of_lists(gateway.base_work, model, command, answer)), methods=[method])
            for method, path, model, command, answer in api_lists.ROUTES
        ),
        *(
            Route(path, _told(_of_lists(gateway.shared_work, model, command, answer)), methods=[method])
            for method, path, model, command, answer in api_shared.ROUTES
        ),
        Route("/v1/hits", _told(_hits(gateway)), methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={404: _unknown, 405: _unknown})


def _short(
    gateway: Gateway, name: str, model: type[_Model], decide: Callable[[Any, str], dict[str, Any]]
) -> Callable[[HttpRequest], Awaitable[dict[str, Any]]]:
    async def endpoint(http: HttpRequest) -> dict[str, Any]:
        request = await _parsed(http, model, name)
        answer: dict[str, Any] = await gateway.in_turn(decide, request, _actor(http, request))
        return answer

    return endpoint


def _status(gateway: Gateway) -> Callable[[HttpRequest], Awaitable[dict[str, Any]]]:
    async def endpoint(_http: HttpRequest) -> dict[str, Any]:
        return await gateway.status()

    return endpoint


def _probe(gateway: Gateway) -> Callable[[HttpRequest], Awaitable[dict[str, Any]]]:
    async def endpoint(http: HttpRequest) -> dict[str, Any]:
        request = await _parsed(http, requests.ProbeRequest, "explain")
        direction = parse_word(_engine.Direction, request.direction)
        outcomes = await gateway.probe(direction, bytes.fromhex(request.frame))
        return {"outcomes": {hook: outcome_document(outcome) for hook, outcome in outcomes.items()}}

    return endpoint


def _of_lists(
    work: _Work, model: type[_Model], command: str, answer: Callable[[_Work, str, Any, str], Awaitable[dict[str, Any]]]
) -> Callable[[HttpRequest], Awaitable[dict[str, Any]]]:
    async def endpoint(http: HttpRequest) -> dict[str, Any]:
        request = await _parsed(http, model, command)
        return await answer(work, http.path_params.get("name", ""), request, _actor(http, request))

    return endpoint


def _hits(gateway: Gateway) -> Callable[[HttpRequest], Awaitable[dict[str, Any]]]:
    async def endpoint(_http: HttpRequest) -> dict[str, Any]:
        return await gateway.hits()

    return endpoint


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """What the programs said of a frame, in public words."""
    return {
        "verdict": word(outcome.verdict),
        "drop_reason": word(outcome.drop_reason),
        "lane": word(outcome.lane),
        "epoch": outcome.epoch,
        "facts": sorted(word(fact) for fact in outcome.facts),
        "action": outcome.action,
    }


def _told(answer: Callable[[HttpRequest], Awaitable[dict[str, Any]]]) -> _Endpoint:
    """An endpoint whose errors leave in the one shape; what nobody foresaw is logged and leaves as gateway.E023."""

    async def endpoint(http: HttpRequest) -> JSONResponse:
        try:
            return JSONResponse(await answer(http))
        except ClearwayError as error:
            return JSONResponse(error.as_json(), status_code=_HTTP.get(error.exit_code, 503))
        except Exception as error:
            log.exception("%s %s", http.method, http.url.path)
            told = ClearwayError.of("gateway.E023", what=f"{type(error).__name__}: {error}")
            return JSONResponse(told.as_json(), status_code=500)

    return endpoint


async def _unknown(http: HttpRequest, _error: Exception) -> JSONResponse:
    told = ClearwayError.of("gateway.E019", method=http.method, path=http.url.path)
    return JSONResponse(told.as_json(), status_code=404)


async def _parsed(http: HttpRequest, model: type[_Model], command: str) -> _Model:
    body = bytearray()
    async for part in http.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise ClearwayError.of("store.E020", field="request", detail="too large", command=command)
    try:
        values = json.loads(body) if body else {}
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ClearwayError.of("store.E020", field="request", detail="no JSON object", command=command)
    return requests.parse(model, values, command)


def _actor(http: HttpRequest, request: requests.Request) -> str:
    """Who asks: root may say for whom it asks, as behind sudo; anybody else is the user that the kernel says."""
    peer = http.client.host if http.client is not None else ""
    uid = int(peer.removeprefix("uid ")) if peer.startswith("uid ") else -1
    if uid == 0 and request.actor:
        return request.actor
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return peer or "unknown"
