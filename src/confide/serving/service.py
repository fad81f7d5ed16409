"""What a worker does with requests, plain and sealed, without HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from confide.errors import ConfideError, Unavailable, UnknownKey
from confide.serving.admission import Account
from confide.serving.clients import Clients
from confide.serving.configuration import Configuration
from confide.serving.envelope import ReplyContent, RequestContent, Target
from confide.serving.failures import Expired, InvalidRequest, NotKnown, NotTaken, Overloaded, UnknownModel
from confide.serving.metrics import Metrics
from confide.serving.model import Model
from confide.serving.models import Models
from confide.serving.oip import Asked, Body, RestRequest, check_outputs
from confide.serving.once import Once
from confide.serving.pool_key import PoolKeys
from confide.serving.sealed import MAX_AHEAD_MS, TICKETED, OpenedRequest, Opener
from confide.serving.ticket import new_ticket

if TYPE_CHECKING:
    from confide.serving.traces import Trace, Traces  # only images that trace have what it needs

AT_ONCE_BYTES = 64 * 1024
"""What is larger is read and written aside: millions of elements take seconds, and others wait for this loop."""
PLAIN_KEPT_S = 60.0
"""How long the answer to a plain request with an id is kept."""

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Answer:
    """An answer to a request that was understood.

    Attributes:
        status: of HTTP.
        body: of the protocol.
    """

    status: int
    body: Body


@dataclass(frozen=True)
class Caller:
    """Who asks, and how.

    Attributes:
        client: name or address: ids of plain requests count for each on its own.
        account: of what is under way; refuses a reply that would be too large, before it is written.
        parent: of the trace of the request, as header `traceparent` names it; empty: none.
    """

    client: str
    account: Account
    parent: str = ""


class Service:
    """Answers requests, on one event loop.

    Args:
        models: that are loaded.
        keys: of the pool.
        configuration: the owner's.
        metrics: counts.
        traces: tells a collector of requests; None: nobody.
    """

    def __init__(
        self,
        models: Models,
        keys: PoolKeys,
        configuration: Configuration,
        metrics: Metrics,
        traces: Traces | None = None,
    ) -> None:
        self.models, self.metrics = models, metrics
        self._configuration = configuration
        self._clients, self._traces = Clients(configuration), traces
        self._opener = Opener(keys)
        self._plain: Once[Answer] = Once(lambda answer: len(answer.body.data))
        self._sealed: Once[bytes] = Once(len)

    @property
    def keys(self) -> PoolKeys:
        """The pool's keys, as they are now."""
        return self._opener.keys

    def renew(self, keys: PoolKeys) -> None:
        """Take over new keys of the pool; what was begun under the old ones goes on where they still live."""
        self._opener = Opener(keys)

    def take_plain(self, token: str) -> str:
        """Return who asks in clear; empty: anybody may.

        Args:
            token: of the client; empty: none.

        Raises:
            NotTaken: requests in clear are not taken.
            NotKnown: it is not one of the clients that may ask. Overloaded: it asks too often.
        """
        if not self._configuration.plain_requests:
            raise NotTaken("requests must be sealed here: the owner's configuration has no plain_requests")
        return self._clients.take(token)

    async def plain(
        self, target: Target, asked: Asked, caller: Caller, timeout_s: float | None = None
    ) -> Answer:
        """Answer a request in clear that `take_plain` took.

        Args:
            target: model and version.
            asked: the request.
            caller: that asks.
            timeout_s: after which its client does not wait any more; None: it says so in the request, or not at all.

        Raises:
            InvalidRequest, UnknownModel, Overloaded, Expired, Duplicate, ModelFailed: why it is not answered.
        """
        return await self._timed(
            "plain",
            target,
            asked.size,
            caller,
            lambda trace: self._infer(target, asked, caller, trace, timeout_s=timeout_s),
        )

    def metadata(self, target: Target) -> dict[str, Any]:
        """Return the metadata of a model.

        Raises:
            UnknownModel: it is not loaded.
        """
        model = self.models.get(target.model, target.version or None)
        return model.metadata(self.models.versions(target.model))

    async def sealed(self, target: Target, data: bytes, caller: Caller) -> bytes:
        """Answer a sealed request, sealed; what fails once it was opened is told in there.

        The same request again gets the very same answer.

        Args:
            target: what it was sent for.
            data: the request.
            caller: that asks; its name does not matter.

        Raises:
            InvalidRequest, UnknownKey, Tampered, Expired: it does not open.
            Overloaded: its client asks too often.
            Duplicate: another request has its id.
        """
        opened = self._opener.open(data, target)
        try:
            self._clients.take(opened.content.token)
        except NotKnown as error:  # kept under no id, and traced for nobody
            return opened.reply.seal(
                ReplyContent(error.http_status, error_body(error)), padded=opened.content.padded
            )
        form = "ticket" if data[1] == TICKETED else "sealed"
        return await self._sealed.answer(
            data[1:2] + opened.key_id + opened.id,
            hashlib.sha256(data + target.encode()).digest(),
            MAX_AHEAD_MS / 1000,
            lambda: self._open_answer(target, opened, form, len(data), caller),
        )

    async def _open_answer(
        self, target: Target, opened: OpenedRequest, form: str, size: int, caller: Caller
    ) -> bytes:
        try:
            answer = await self._timed(
                form, target, size, caller, lambda trace: self._operate(target, opened, caller, trace)
            )
            reply = ReplyContent(answer.status, answer.body)
        except Overloaded:
            raise  # not worth an answer under the id: the same request may come again
        except Exception as error:  # noqa: BLE001 - whatever it was: in clear it would tell of the request
            known = error if isinstance(error, ConfideError) else ConfideError("internal error")
            reply = ReplyContent(known.http_status, error_body(known))
        return opened.reply.seal(reply, padded=opened.content.padded)

    async def _operate(
        self, target: Target, opened: OpenedRequest, caller: Caller, trace: Trace | None
    ) -> Answer:
        match target.operation:
            case "infer":
                return await self._infer(
                    target, RestRequest(opened.content.body), caller, trace, content=opened.content
                )
            case "metadata":
                return Answer(200, _json_body(self.metadata(target)))
            case "session":
                return Answer(200, _json_body(self._session(opened)))
        raise InvalidRequest(f"no operation {target.operation!r}")

    def _session(self, opened: OpenedRequest) -> dict[str, Any]:
        key = self.keys.key(opened.key_id)
        if key.public.version != self.keys.current:
            raise UnknownKey("tickets are given under the current version of the pool key alone")
        ticket, secret, expires, uses = new_ticket(key, int(time.time()))
        return {"ticket": ticket.hex(), "secret": secret.hex(), "expires": expires, "uses": uses}

    async def _infer(
        self,
        target: Target,
        asked: Asked,
        caller: Caller,
        trace: Trace | None,
        *,
        timeout_s: float | None = None,
        content: RequestContent | None = None,
    ) -> Answer:
        model = self.models.get(target.model, target.version or None)
        request = await _aside(asked.size, lambda: asked.read(model.check))
        check_outputs(request, model.runtime.outputs)
        limit_s = self._configuration.deadline_ms / 1000
        for said_s in (request.timeout_s, timeout_s):
            if said_s is not None:
                limit_s = min(limit_s, said_s)
        if content is not None:
            limit_s = min(limit_s, content.not_after_ms / 1000 - time.time())
        if limit_s <= 0:
            raise Expired("the deadline has passed")
        expires = time.monotonic() + limit_s

        async def work() -> Answer:
            arrays = await model.submit(request.inputs, expires, trace)
            size = sum(array.nbytes for array in arrays)
            caller.account.require(size)
            return Answer(
                200,
                await _aside(
                    size,
                    lambda: asked.write(model.name, model.version, request, model.runtime.outputs, arrays),
                ),
            )

        if content is not None or not request.id:
            return await work()
        # Clients of the protocol may give every request the same id: it counts together with what they ask.
        digest = asked.digest()
        key = json.dumps([caller.client, model.name, model.version, request.id, digest.hex()]).encode()
        return await self._plain.answer(key, digest, PLAIN_KEPT_S, work)

    async def _timed(
        self,
        form: str,
        target: Target,
        size: int,
        caller: Caller,
        work: Callable[[Trace | None], Awaitable[Answer]],
    ) -> Answer:
        began = time.monotonic()
        trace: Trace | None = None
        if self._traces is not None:
            trace = self._traces.begin(target.operation, form, size, caller.parent)
        status = Unavailable.http_status  # of who is cut off because the worker ends
        answer: Answer | None = None
        try:
            answer = await work(trace)
        except Exception as error:
            status = error.http_status if isinstance(error, ConfideError) else ConfideError.http_status
            raise
        else:
            status = answer.status
            return answer
        finally:
            model = self._known(target)
            if model is not None and target.operation == "infer":
                model.count.request(form, status, time.monotonic() - began)
            if trace is not None:
                known = None if model is None else (model.name, model.version)
                trace.end(status, len(answer.body.data) if answer else 0, known)

    def _known(self, target: Target) -> Model | None:
        try:
            return self.models.get(target.model, target.version or None)
        except UnknownModel:
            return None


def told(error: ConfideError) -> str:
    """Return what is said of an error: in full where it is about the request, else coarsely."""
    return (
        str(error) if isinstance(error, InvalidRequest | UnknownModel | NotTaken | Expired) else error.public
    )


def error_body(error: ConfideError) -> Body:
    """Return what is said of an error (`told`), as REST says it."""
    return _json_body({"error": told(error)})


def _json_body(value: dict[str, Any]) -> Body:
    return Body(json.dumps(value, separators=(",", ":")).encode())


async def _aside(size: int, work: Callable[[], _Made]) -> _Made:
    """Do work on so many bytes: a little here, much in another thread."""
    if size <= AT_ONCE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(None, work)
