"""The client of serving workers: verifies what a worker is before anything is sent, and seals what is sent.

Only workers of the pool read a request, wherever TLS ends and whatever stands between: to anybody else it is
ciphertext, its size, and the name of the model.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

import httpx
import numpy as np

from confide.attestation.trust import HardwareTrust
from confide.errors import ConfideError, Misuse, Unavailable, UnknownKey
from confide.serving import failures
from confide.serving.client_transport import ask_introduction, client_tls, post
from confide.serving.clients import is_token
from confide.serving.envelope import ReplyContent, RequestContent, Target
from confide.serving.failures import Expired, Overloaded, Unreachable
from confide.serving.identity import PATH, AcceptedServing, VerifiedWorker, verify_worker
from confide.serving.oip import Body, read_reply, write_request
from confide.serving.sealed import ReplyKey, seal_fresh, seal_ticketed
from confide.serving.tensors import Array
from confide.serving.ticket import HeldTicket, Session

TIMEOUT_S = 30.0
VERIFY_AGAIN_S = 3600.0
_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0


@dataclass(frozen=True)
class Reply:
    """What a model answered.

    Attributes:
        model, version: that answered.
        outputs: name -> array.
    """

    model: str
    version: str
    outputs: Mapping[str, Array]


class Client:
    """A client of the workers at one address; safe to use from several threads, and in forks.

    Args:
        url: `https://host:port` of a worker, or of a proxy or balancer before several.
        accepted: what a worker must be: the document, or its file (`confide serving accept` writes it).
        hardware: what evidence of hardware is anchored to; None: simulated evidence only.
        proxy_ca: certificate (PEM) of the authority of a proxy that ends TLS; None: the worker itself does.
        ticket: use a session ticket: cheaper for many requests, under one key for up to an hour.
        token: by which the worker knows this client, where its owner names clients; it is sealed with each request.
        padded: pad requests and replies to powers of two, so that their sizes tell less.
        verify_again_s: after which evidence is asked for anew.

    Raises:
        AttestationRefused: no accepted worker; the message names the step.
        Unavailable: nobody answers.
    """

    def __init__(
        self,
        url: str,
        accepted: AcceptedServing | Path | str,
        *,
        hardware: HardwareTrust | None = None,
        proxy_ca: bytes | None = None,
        ticket: bool = False,
        token: str = "",
        padded: bool = False,
        verify_again_s: float = VERIFY_AGAIN_S,
    ) -> None:
        if not url.startswith("https://"):
            raise Misuse(f"a worker's URL is https://host:port, not {url!r}")
        self._url = url.rstrip("/")
        self._accepted = accepted if isinstance(accepted, AcceptedServing) else _document(Path(accepted))
        self._hardware, self._proxy_ca = hardware, proxy_ca
        if token and not is_token(token):
            raise Misuse("a client's token is 64 hex digits, as `confide serving token` makes it")
        self._with_ticket, self._padded, self._token = ticket, padded, token
        self._verify_again_s = verify_again_s
        self._begin()
        _clients.add(self)
        self.verify()

    def _begin(self) -> None:
        """Know nobody yet: also in a fork, which must not count on under its parent's nonces, TLS's neither."""
        self._lock = threading.RLock()
        self._http: httpx.Client | None = None
        self._ticket: HeldTicket | None = None
        self._verified: tuple[VerifiedWorker, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            self._http.close()

    def verify(self) -> VerifiedWorker:
        """Ask for fresh evidence, verify it, and return who answers there.

        Raises:
            AttestationRefused, PlatformRefused, CollateralUnavailable: no accepted worker.
            Unavailable: nobody answers.
        """
        nonce = secrets.token_hex(32)
        introduction = ask_introduction(f"{self._url}{PATH}?nonce={nonce}", self._proxy_ca, TIMEOUT_S)
        worker = verify_worker(introduction, self._accepted, self._hardware, int(time.time()), nonce)
        authority = self._proxy_ca or worker.authority_pem
        with self._lock:
            old = self._verified[0] if self._verified else None
            if old is None or old.key.version != worker.key.version:
                self._ticket = None
            if self._http is None or old is None or old.authority_pem != worker.authority_pem:
                # The one before is not closed: other threads use it; it goes when the last of them lets go of it.
                self._http = httpx.Client(
                    verify=client_tls(authority), timeout=TIMEOUT_S, trust_env=False, follow_redirects=False
                )
            self._verified = worker, time.monotonic() + self._verify_again_s
        return worker

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        context: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> Reply:
        """Have a model answer.

        Args:
            model: its name.
            inputs: name -> array, or what numpy makes one of; the datatype is the array's.
            version: empty: the highest.
            outputs: that are wanted; empty: all.
            context: whatever else request and reply are bound to; printable ASCII, it travels in a header.
            timeout_s: until when it is sent again where nobody answers, and after which no worker answers any more.

        Raises:
            Misuse: a context that is none.
            InvalidRequest: names the tensor. UnknownModel, Overloaded, Expired, ModelFailed: why there is no answer.
            AttestationRefused: the workers there are no accepted ones (any more).
            NotKnown: the worker's owner names clients, and this is none of them.
            Tampered: the answer is not one to this request.
            Unreachable: nobody answered in time.
        """
        if not (context.isascii() and context.isprintable() and context == context.strip()):
            raise Misuse("a context is printable ASCII, without spaces at its ends")
        body = write_request({name: np.asarray(value) for name, value in inputs.items()}, outputs)
        content = self._content(body, timeout_s)
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        answer = self._ask(path, Target("infer", model, version, context), content, timeout_s)
        name, of, arrays = read_reply(answer.body)
        return Reply(name, of, arrays)

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """Return a model's metadata: its versions, inputs and outputs, as the protocol has them.

        Raises:
            as `infer`.
        """
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
        content = self._content(Body(b"{}"), TIMEOUT_S)
        answer = self._ask(path, Target("metadata", model, version), content, TIMEOUT_S)
        metadata: dict[str, Any] = json.loads(bytes(answer.body.data))
        return metadata

    def _content(self, body: Body, timeout_s: float) -> RequestContent:
        ends = time.time() + min(timeout_s, 599.0)
        return RequestContent(body, int(ends * 1000), self._padded, self._token)

    def _ask(self, path: str, target: Target, content: RequestContent, timeout_s: float) -> ReplyContent:
        """Send a request until it is answered, or its time is over.

        Where nobody answers, it is not known whether somebody did: the very same request is sent again, to whichever
        accepted worker is there then, and answered once. Where the pool's key has changed, a new one is sealed.
        """
        deadline, pause_s = time.monotonic() + timeout_s, _PAUSE_S
        sealed, again = self._seal(self._worker(), target, content), True
        while True:
            try:
                return self._opened(self._post(path, sealed[0], target.context), sealed[1])
            except Unreachable:
                if time.monotonic() + pause_s >= deadline:
                    raise
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
                with contextlib.suppress(Unreachable, Overloaded):
                    self.verify()
            except (UnknownKey, Expired) as error:
                if not again or (isinstance(error, Expired) and self._ticket is None):
                    raise
                self._ticket, again = None, False
                sealed = self._seal(self.verify(), target, content)

    def _worker(self) -> VerifiedWorker:
        with self._lock:
            known = self._verified
        return known[0] if known is not None and time.monotonic() < known[1] else self.verify()

    def _seal(
        self, worker: VerifiedWorker, target: Target, content: RequestContent
    ) -> tuple[bytes, ReplyKey]:
        if not self._with_ticket or target.operation == "session":
            return seal_fresh(content, target, worker.key)
        try:
            return seal_ticketed(content, target, self._held(worker))
        except Expired:  # used up; then it has no number for this request
            return seal_ticketed(content, target, self._held(worker, anew=True))

    def _held(self, worker: VerifiedWorker, *, anew: bool = False) -> HeldTicket:
        with self._lock:
            if self._ticket is None or anew:
                self._ticket = self._new_ticket(worker)
            return self._ticket

    def _new_ticket(self, worker: VerifiedWorker) -> HeldTicket:
        target = Target("session")
        data, reply = seal_fresh(self._content(Body(b"{}"), TIMEOUT_S), target, worker.key)
        answer = self._opened(self._post("/confide/v1/serving/session", data, ""), reply)
        try:
            said = json.loads(bytes(answer.body.data))
            session = Session.of(bytes.fromhex(said["secret"]), int(said["expires"]), int(said["uses"]))
            return HeldTicket(bytes.fromhex(said["ticket"]), worker.key.id, session)
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"{self._url}: no ticket in the answer") from None

    def _post(self, path: str, data: bytes, context: str) -> bytes:
        assert self._http is not None
        return post(self._http, self._url + path, data, context)

    def _opened(self, data: bytes, reply: ReplyKey) -> ReplyContent:
        answer = reply.open(data)
        if answer.status != 200:
            raise _error(answer)
        return answer


_clients: WeakSet[Client] = WeakSet()


def _in_a_fork() -> None:
    for client in _clients:
        client._begin()


os.register_at_fork(after_in_child=_in_a_fork)


def _error(answer: ReplyContent) -> ConfideError:
    try:
        text = str(json.loads(bytes(answer.body.data))["error"])
    except (ValueError, KeyError, TypeError):
        text = f"status {answer.status}"
    return failures.of_status(answer.status)(text)


def _document(path: Path) -> AcceptedServing:
    try:
        return AcceptedServing.from_toml(path.read_bytes())
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from None
