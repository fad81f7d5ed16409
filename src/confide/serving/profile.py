"""The serving profile: front end, batching and models in the one process that was attested."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from confide.broker.ca import LEAF_DAYS
from confide.broker.https import https_server, listen, server_tls
from confide.broker.release import Release
from confide.broker.rules import left_s
from confide.broker.tls import load_chain
from confide.enclave.enclave_needs import enclave_cores
from confide.enclave.libos import GRAMINE, inside_libos
from confide.enclave.profile import Context
from confide.errors import BrokerUnavailable, ConfideError, Misuse, NoGrant, Refused, StorageUnavailable
from confide.keys.names import KeyName
from confide.serving.admission import Admission
from confide.serving.configuration import Configuration
from confide.serving.http import Application
from confide.serving.identity import WorkerIdentity
from confide.serving.metrics import Metrics
from confide.serving.models import Models
from confide.serving.pool_key import PoolKeys
from confide.serving.repository import find_sources
from confide.serving.service import Service

if TYPE_CHECKING:
    from confide.serving.grpc_server import GrpcServer
    from confide.serving.traces import Traces

MODELS = Path("/app/models")
LEAF_SHOWN_S = LEAF_DAYS * 24 * 3600 / 2
"""After half its life a certificate is replaced."""
_DEFAULT_LISTEN = "127.0.0.1:0"


class ServingProfile:
    """Serves models (`confide.enclave.profile.Profile`)."""

    def run(self, context: Context) -> int:
        """Serve until asked to stop.

        Raises:
            NoGrant: the policy names no key for requests.
            InvalidFormat, Tampered: a model cannot be loaded, or the configuration has faults.
            Unavailable: the address cannot be bound.
            Refused: the owners' policies do not release anything any more.
            BrokerUnavailable: no broker could be asked until the release ended.
            StorageUnavailable: nor could a new version of a model be read.
            Misuse: there is no model, or gRPC is asked for and the owner's configuration does not allow plain requests.
        """
        configuration = Configuration.from_toml(Path(context.image.program).read_bytes())
        # uvloop wants eventfd, which Gramine has only as an insecure option.
        loop = None if inside_libos() == GRAMINE else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(_Worker(context, configuration).serve())
        return 0


class _Worker:
    def __init__(self, context: Context, configuration: Configuration) -> None:
        self._context, self._configuration = context, configuration
        self._metrics = Metrics(detailed=configuration.detailed_metrics)
        self._models = Models(
            configuration.limits,
            enclave_cores(context.image.limits) if inside_libos() else context.image.limits.cores,
            context.scratch,
            self._metrics,
            self._log,
        )
        self._ended: ConfideError | None = None
        self._ready = False
        self._grpc: GrpcServer | None = None
        self._following: asyncio.Task[None] | None = None
        self._wanted: dict[tuple[str, str], str] = {}
        self._told_until: float | None = None

    async def serve(self) -> None:
        context = self._context
        host, port, names = _address(context)
        if "grpc" in context.launch and not self._configuration.plain_requests:
            raise Misuse(
                "--grpc-listen: requests of gRPC are not sealed, and the owner's configuration has no plain_requests"
            )
        release = context.release
        _pool_keys(release)
        self._hold(release)
        with contextlib.closing(listen(host, port)) as listener, _grpc_listener(context) as grpc_listener:
            release = await self._load(release)
            if not self._models.all():
                raise Misuse("no model: the image holds none, and the policy lets no sealed files be read")
            keys = _pool_keys(release)
            self._identity = WorkerIdentity(context.evidence, names, int(time.time()))
            self._show(self._identity.leaf(keys, int(time.time())))
            tls = server_tls(self._leaf)
            self._contexts = [tls]
            self._traces = self._begin_traces()
            self._service = Service(self._models, keys, self._configuration, self._metrics, self._traces)
            admission = Admission(self._configuration)
            application = Application(self._service, admission, self._introduce, lambda: self._ready)
            self._server = https_server(application, tls)
            addresses = {"url": f"https://{_called(names, listener)}"}
            if grpc_listener is not None:
                self._start_grpc(grpc_listener, admission)
                addresses["grpc"] = _called(names, grpc_listener)
            _collect_seldom()
            self._tell_ready(True)
            context.started()
            async with self._refreshing():
                self._tell_when_up(addresses)
                await self._server.serve(sockets=[listener])
                self._tell_ready(False)
            if self._grpc is not None:
                await self._grpc.close()
        await self._models.close()
        if self._traces is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._traces.close)
        if self._ended is not None:
            raise self._ended

    async def _load(self, release: Release) -> Release:
        """Load every model, and return the release that holds then: if it took long, the broker is asked again."""
        loop = asyncio.get_running_loop()
        began, sources = loop.time(), find_sources(MODELS, release, self._context.work)
        try:
            async with asyncio.timeout_at(self._until):
                await self._models.follow(sources, release.keyset(), strict=True)
        except TimeoutError:
            raise StorageUnavailable("the models could not be read until the release ended") from None
        if loop.time() - began < self._configuration.refresh_s:
            return release
        try:
            release = await loop.run_in_executor(None, self._context.renew)
        except Refused:
            raise
        except ConfideError as error:
            if loop.time() >= self._until:
                raise
            self._log_failure(error)  # what was released stays released until it ends
        else:
            self._hold(release)
        return release

    def _begin_traces(self) -> Traces | None:
        if self._configuration.traces is None:
            return None
        from confide.serving.traces import Traces  # only images that trace have what it needs

        return Traces(self._configuration.traces)

    def _start_grpc(self, listener: socket.socket, admission: Admission) -> None:
        from confide.serving.grpc_server import GrpcServer  # only images of plain requests have what it needs

        self._grpc = GrpcServer(self._service, admission, lambda: self._ready, self._leaf)
        self._contexts.append(self._grpc.tls)
        self._grpc.start(listener)

    def _tell_ready(self, ready: bool) -> None:
        self._ready = ready
        if self._grpc is not None:
            self._grpc.tell_ready(ready)

    def _tell_when_up(self, addresses: Mapping[str, str]) -> None:
        async def tell() -> None:
            while not self._server.started:
                await asyncio.sleep(0.005)
            models = " ".join(f"{model.name}:{model.version}" for model in self._models.all())
            self._context.tell("ready", **addresses, models=models)
            self._log("ready", **addresses)

        self._telling = asyncio.get_running_loop().create_task(tell())

    @contextlib.asynccontextmanager
    async def _refreshing(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self._refresh())
        try:
            yield
        finally:
            for each in (task, self._following):
                if each is not None:
                    each.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await each

    async def _refresh(self) -> None:
        """Ask the broker again and again: for new versions of keys and models, and whether to go on.

        Where it cannot be asked, what was released stays released until the release ends. It is asked in a thread of
        its own, and models are loaded beside it: neither clients nor storage can keep it waiting.
        """
        loop, asking = asyncio.get_running_loop(), ThreadPoolExecutor(1, "broker")
        while True:
            remaining_s = self._until - loop.time()
            await asyncio.sleep(min(self._configuration.refresh_s, max(1.0, remaining_s / 2)))
            limit = asyncio.timeout_at(self._until)
            try:
                async with limit:
                    release = await loop.run_in_executor(asking, self._context.renew)
                    self._hold(release)
                    limit.reschedule(self._until)
                    await self._take_over(_pool_keys(release))
                self._follow_beside(release)
            except Refused as refused:
                self._end(refused)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the broker is asked again
                if limit.expired():
                    self._end(BrokerUnavailable("no broker could be asked until the release ended"))
                    return
                self._log_failure(error)

    def _log_failure(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, ConfideError) else ""  # else it may hold anything
        self._log("refresh-failed", error=type(error).__name__, reason=reason)

    def _hold(self, release: Release) -> None:
        """Serve until the release ends, by a clock that cannot be put back."""
        self._until = asyncio.get_running_loop().time() + left_s(release, time.time())
        self._metrics.attested(release.expires)

    def _end(self, reason: ConfideError) -> None:
        self._log("ended", error=type(reason).__name__, reason=str(reason))
        self._metrics.refused()
        self._tell_ready(False)
        self._ended = reason
        self._server.should_exit = True

    async def _take_over(self, keys: PoolKeys) -> None:
        changed = (keys.current, keys.public) != (self._service.keys.current, self._service.keys.public)
        if not changed and time.time() < self._leaf_until:
            return
        leaf = await asyncio.get_running_loop().run_in_executor(
            None, self._identity.leaf, keys, int(time.time())
        )
        self._show(leaf)
        for context in self._contexts:
            load_chain(context, leaf)  # connections from now on show it
        if changed:
            self._service.renew(keys)
            self._log("pool-key", version=str(keys.current))

    def _show(self, leaf: bytes) -> None:
        self._leaf, self._leaf_until = leaf, time.time() + LEAF_SHOWN_S

    def _follow_beside(self, release: Release) -> None:
        """Load and unload models beside all else: again, when what there is to be has changed meanwhile.

        What was replaced answers on until then, so it has to be done before the release ends that it began with.
        """
        try:
            sources = find_sources(MODELS, release, self._context.work)
        except ConfideError:  # a model that was withdrawn may be among those that it answers on with
            self._told_until = self._told_until or self._until
            if asyncio.get_running_loop().time() >= self._told_until:
                self._end(
                    StorageUnavailable("what models there are could not be told until the release ended")
                )
            raise
        self._told_until = None
        wanted = {key: source.digest for key, source in sources.items()}
        if self._following is not None and not self._following.done():
            if wanted == self._wanted:
                return
            self._following.cancel()
        else:
            self._follow_until = self._until

        async def follow() -> None:
            limit = asyncio.timeout_at(self._follow_until)
            try:
                async with limit:
                    await self._models.follow(sources, release.keyset())
            except Exception as error:  # noqa: BLE001 - it is tried again
                if limit.expired():
                    self._end(StorageUnavailable("a model could not be read until the release ended"))
                else:
                    self._log_failure(error)

        self._wanted = wanted
        self._following = asyncio.get_running_loop().create_task(follow())

    async def _introduce(self, nonce: str) -> dict[str, Any]:
        keys, leaf = self._service.keys, self._leaf
        if nonce:
            leaf = await asyncio.get_running_loop().run_in_executor(
                None, self._identity.leaf, keys, int(time.time()), nonce
            )
        return self._identity.introduce(keys, leaf)

    def _log(self, event: str, **details: object) -> None:
        """Write an event to the sealed log: names, numbers and reasons, no payload."""
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": stamp, "event": event, **details})
        with contextlib.suppress(OSError):
            os.write(self._context.output, line.encode() + b"\n")


def _pool_keys(release: Release) -> PoolKeys:
    if release.requests is None:
        raise NoGrant("the policy names no key for requests: `confide policy allow ... --requests OWNER/KEY`")
    return PoolKeys(release.keyset().key(KeyName.parse(release.requests)))


def _collect_seldom() -> None:
    """Look at answers that are kept, and at what was loaded, less often: it took a fifth of a sealed request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@contextlib.contextmanager
def _grpc_listener(context: Context) -> Iterator[socket.socket | None]:
    """Yield a bound socket for gRPC, where it is asked for."""
    if "grpc" not in context.launch:
        yield None
        return
    host, _, port = context.launch["grpc"].rpartition(":")
    with contextlib.closing(listen(host.strip("[]"), int(port))) as listener:
        yield listener


def _called(names: Sequence[str], listener: socket.socket) -> str:
    """Return NAME:PORT by which clients call what listens there."""
    return f"{f'[{names[0]}]' if ':' in names[0] else names[0]}:{listener.getsockname()[1]}"


def _address(context: Context) -> tuple[str, int, tuple[str, ...]]:
    host, _, port = context.launch.get("listen", _DEFAULT_LISTEN).rpartition(":")
    host = host.strip("[]")
    names = context.launch.get("names", host)
    return host, int(port), tuple(names.split(","))
