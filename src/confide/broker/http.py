"""The broker's HTTP shell: the KBS protocol's endpoints, commits, mesh certificates, owners' calls. Decides nothing.

What goes out of an error is its class and its public sentence; the detail is in the audit log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from confide import errors
from confide.attestation.claims import Claims
from confide.attestation.evidence import MAX_ATTESTATION_BYTES, MAX_REQUEST_BYTES
from confide.broker import introduction
from confide.broker.acceptor import one_client
from confide.broker.mesh import MAX_BODY_BYTES as MAX_MESH_BYTES
from confide.broker.mesh import MeshService
from confide.broker.owner_service import MAX_CALL_BYTES, MAX_LISTING_CALL_BYTES, OwnerService
from confide.broker.service import WorkloadService
from confide.broker.sessions import RateLimit
from confide.data.listing import MAX_LISTING_BYTES

COOKIE = "kbs-session-id"
LARGE_BODY_BYTES = 1024 * 1024
LARGE_BODIES = 4
LARGE_BODY_WAIT_S = 5.0
PROBLEM = "https://github.com/confidential-containers/kbs/errors/"

_PROBLEMS = {
    errors.AttestationRefused: "AttestationError",
    errors.UnknownKey: "InvalidRequestPath",
    errors.Refused: "PolicyDeny",
    errors.InvalidFormat: "SerdeError",
    errors.ConfideError: "PluginInternalError",
}
"""Error -> problem type of the KBS protocol; the nearest base class counts."""


_Result = TypeVar("_Result")


def make_app(
    workloads: WorkloadService,
    mesh: MeshService,
    owners: OwnerService,
    limit: RateLimit,
    introduce: Callable[[], dict[str, Any]],
) -> Starlette:
    """Return the ASGI application; `introduce` says who the broker is."""
    shell = _Shell(workloads, mesh, owners, limit, introduce)
    return Starlette(
        routes=[
            Route("/kbs/v0/auth", shell.auth, methods=["POST"]),
            Route("/kbs/v0/attest", shell.attest, methods=["POST"]),
            Route("/kbs/v0/resource/{repository}/{kind}/{tag}", shell.resource, methods=["GET"]),
            Route("/confide/v1/listings/commit", shell.commit, methods=["POST"]),
            Route("/confide/v1/mesh/certificate", shell.mesh_certificate, methods=["POST"]),
            Route("/confide/v1/nonce", shell.nonce, methods=["GET"]),
            Route("/confide/v1/jwks", shell.jwks, methods=["GET"]),
            Route(introduction.PATH, shell.introduction, methods=["GET"]),
            Route("/confide/v1/owners/{owner}/{action}", shell.owner_call, methods=["POST"]),
        ],
        exception_handlers={
            errors.ConfideError: _on_error,
            HTTPException: _on_http_error,
            ClientDisconnect: _on_disconnect,
            Exception: _on_crash,
        },
    )


class _Shell:
    def __init__(
        self,
        workloads: WorkloadService,
        mesh: MeshService,
        owners: OwnerService,
        limit: RateLimit,
        introduce: Callable[[], dict[str, Any]],
    ) -> None:
        self._workloads = workloads
        self._mesh = mesh
        self._introduce = introduce
        self._owners = owners
        self._limit = limit
        self._owners_room = asyncio.Semaphore(LARGE_BODIES)
        self._workloads_room = asyncio.Semaphore(LARGE_BODIES)

    async def auth(self, request: Request) -> Response:
        self._limit.take(_address(request))
        body = await _body(request, MAX_REQUEST_BYTES)
        session, challenge = self._workloads.challenge(body)
        return _with_cookie(JSONResponse(challenge), session)

    async def attest(self, request: Request) -> Response:
        self._limit.take(_address(request))
        session = request.cookies.get(COOKIE, "")
        body = await _body(request, MAX_ATTESTATION_BYTES)
        if self._workloads.may_take_long(session):
            token = await run_in_threadpool(self._workloads.attest, session, body)
        else:
            token = await self._promptly(self._workloads.attest, session, body)
        return _with_cookie(JSONResponse({"token": token}), session)

    async def resource(self, request: Request) -> Response:
        claims = self._claims(request)
        path = request.path_params
        sealed = await self._promptly(
            self._workloads.resource, claims, path["repository"], path["kind"], path["tag"]
        )
        return JSONResponse(sealed)

    async def commit(self, request: Request) -> Response:
        claims = self._claims(request)
        async with _room(self._workloads_room, request):
            body = await _body(request, MAX_LISTING_BYTES)
            return JSONResponse(await run_in_threadpool(self._workloads.commit, claims, body))

    async def mesh_certificate(self, request: Request) -> Response:
        claims = self._claims(request)
        body = await _body(request, MAX_MESH_BYTES)
        return JSONResponse(await self._promptly(self._mesh.issue, claims, body))

    def _claims(self, request: Request) -> Claims:
        """Return the claims of an attested workload, whose requests count apart from those of whoever has none."""
        address = _address(request)
        try:
            claims = self._workloads.claims(request.cookies.get(COOKIE), _bearer(request))
        except errors.ConfideError:
            self._limit.take(address)
            raise
        self._limit.take(f"{address} attested")
        return claims

    async def nonce(self, request: Request) -> Response:
        self._limit.take(_address(request))
        return Response(status_code=204, headers=self._fresh_nonce())

    async def jwks(self, request: Request) -> Response:
        del request
        return JSONResponse(self._workloads.jwks())

    async def introduction(self, request: Request) -> Response:
        self._limit.take(_address(request))
        return JSONResponse(await run_in_threadpool(self._introduce))

    async def owner_call(self, request: Request) -> Response:
        self._limit.take(_address(request))
        owner, action = request.path_params["owner"], request.path_params["action"]
        most = MAX_LISTING_CALL_BYTES * 4 // 3 + 4096 if action == "put-listing" else MAX_CALL_BYTES
        url = f"https://{request.headers.get('host', '')}{request.url.path}"
        async with _room(self._owners_room, request):
            document = _json_object(await _body(request, most))
            answer = await run_in_threadpool(self._owners.call, owner, action, url, document)
        return JSONResponse(answer, headers=self._fresh_nonce())

    async def _promptly(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Do about a millisecond's work here, where a thread would double its cost; but wait for nobody here."""
        if self._workloads.idle():
            return work(*arguments)
        return await run_in_threadpool(work, *arguments)

    def _fresh_nonce(self) -> dict[str, str]:
        return {"Replay-Nonce": self._owners.nonces.issue(), "Cache-Control": "no-store"}


def _address(request: Request) -> str:
    return one_client(request.client.host if request.client else "")


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _with_cookie(response: Response, session: str) -> Response:
    response.set_cookie(COOKIE, session, path="/", secure=True, httponly=True, samesite="strict")
    return response


@asynccontextmanager
async def _room(room: asyncio.Semaphore, request: Request) -> AsyncIterator[None]:
    """Let a few large bodies into memory at once."""
    if _declared(request) <= LARGE_BODY_BYTES:
        yield
        return
    try:
        await asyncio.wait_for(room.acquire(), LARGE_BODY_WAIT_S)
    except TimeoutError:
        raise errors.BrokerUnavailable("too many large bodies at once") from None
    try:
        yield
    finally:
        room.release()


def _declared(request: Request) -> int:
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or len(declared) > 15:
        raise errors.InvalidFormat("not a body's length")
    return int(declared)


async def _body(request: Request, most: int) -> bytes:
    """Read the body, of at most `most` bytes; the connection bounds its time, the parser its declared length."""
    if (declared := _declared(request)) > most:
        raise errors.InvalidFormat(f"body of {declared} bytes, at most {most} are allowed")
    return await request.body()


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise errors.InvalidFormat("body is not JSON") from None
    if not isinstance(value, dict):
        raise errors.InvalidFormat("body is not a JSON object")
    return value


def _answer(kind: type[errors.ConfideError], status: int, message: str) -> Response:
    problem = next(_PROBLEMS[base] for base in kind.__mro__ if base in _PROBLEMS)
    content = {"error": kind.__name__, "message": message, "type": PROBLEM + problem, "detail": message}
    # A body may be left unread behind an error: such a connection is not used again.
    return JSONResponse(content, status, headers={"Connection": "close"})


async def _on_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, errors.ConfideError)
    status = 429 if isinstance(error, errors.BrokerUnavailable) else error.http_status
    return _answer(type(error), status, error.public)


async def _on_http_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    kind = errors.UnknownKey if error.status_code == 404 else errors.Misuse
    return _answer(kind, error.status_code, "no such endpoint")


async def _on_disconnect(request: Request, error: Exception) -> Response:
    del request, error
    return Response(status_code=400)


async def _on_crash(request: Request, error: Exception) -> Response:
    del request, error
    return _answer(errors.ConfideError, 500, errors.ConfideError.public)
