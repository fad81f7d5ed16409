"""`confide serve --queue`: a pool of workers over a queue, its front end, or both."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from confide.cli.context import settings
from confide.cli.listening import called_by, stopped_by_signals
from confide.cli.output import emit, say
from confide.cli.programs import ProgramOptions, image_of, with_changes
from confide.cli.run import Report, brokers_for, found_tee
from confide.errors import MeasurementRefused, MissingDependency, Misuse

if TYPE_CHECKING:
    from confide.enclave.run import OnStatus
    from confide.serving.front_end_server import FrontEndServer
    from confide.serving.redis_link import RedisLink

MAX_QUEUE = 10_000
_WORKER = {"listen": "127.0.0.1:0", "names": "127.0.0.1"}
"""Launch parameters of a worker: its relay alone speaks to it."""


@dataclass(frozen=True)
class FrontEndOptions:
    """What the user says of a front end.

    Attributes:
        listen: ADDRESS:PORT.
        names: by which clients call it; None: that address.
        certificate: file with private key and chain; None: one is made.
        max_queue: requests that may wait.
    """

    listen: str
    names: Sequence[str] | None
    certificate: Path | None
    max_queue: int


def link_of(url: str, password: Path | None, authority: Path | None) -> RedisLink:
    """Return the way to a queue.

    Raises:
        Misuse: the URL, or a file, is none. MissingDependency: the client of Redis is not installed.
    """
    try:
        from confide.serving.redis_link import RedisLink
    except ModuleNotFoundError:
        raise MissingDependency(
            "--queue needs a client of Redis: install the extra `confide[queue]`"
        ) from None
    return RedisLink.parse(url, password, authority)


def serve_queue(
    context: typer.Context,
    model: Path | None,
    link: RedisLink,
    front: FrontEndOptions | None,
    *,
    workers: int,
    front_end_alone: bool,
    tee: str,
    data: Path,
    broker: list[str] | None,
    broker_ca: list[Path] | None,
    options: ProgramOptions,
    json: bool,
) -> None:
    """Serve over a queue until interrupted.

    Raises:
        Misuse: neither a model nor a front end; or the queue would lose requests.
        Unavailable: the queue does not answer, or the address cannot be bound.
        and what `confide run` raises, of a worker.
    """
    from confide.enclave.run import RunRequest, check_tee
    from confide.serving.pool import Pool

    if model is None:
        if not front_end_alone or front is None:
            raise Misuse("which model? Name one, or a front end alone: --front-end")
        with stopped_by_signals():
            Pool(None, 0, link, _front_end(context, link, front, quiet=json)).run()
        return
    tee = tee or found_tee(quiet=json)
    check_tee(tee, None, options.libos)
    report = Report(tee, quiet=json)
    with stopped_by_signals(), brokers_for(context, tee, None, broker or [], broker_ca or []) as brokers:
        built = image_of(model, brokers.authorities, options)
        report.image(built)
        enclave = None
        if options.libos is not None:
            from confide.cli.enclaves import enclave_for_run

            enclave = enclave_for_run(built, tee, options.libos)
        request = RunRequest(
            image=built.folder,
            tee=tee,
            home=settings(context).home,
            brokers=brokers.urls,
            data_root=data.absolute(),
            launch=_WORKER,
            enclave=enclave,
        )
        front_end = None if front is None else _front_end(context, link, front, quiet=json)
        told = report.status if front is not None or json else _ready_once(report, link)
        try:
            Pool(request, workers, link, front_end, told).run()
        except MeasurementRefused as error:
            raise with_changes(error, brokers.home, built) from None
        finally:
            if json:
                emit({"tee": tee, "measurement": built.measurement, "states": report.states})


def _ready_once(report: Report, link: RedisLink) -> OnStatus:
    """Return what tells also that the first of the workers is ready, where no front end says so."""
    first = threading.Event()

    def told(status: Mapping[str, Any]) -> None:
        report.status(status)
        if status.get("state") == "ready" and not first.is_set():
            first.set()
            say(f"ready: {link.called}")

    return told


def _front_end(
    context: typer.Context, link: RedisLink, front: FrontEndOptions, *, quiet: bool
) -> FrontEndServer:
    from confide.broker.https import listen
    from confide.serving.front_end_server import (
        AUTHORITY_CERTIFICATE,
        FrontEndServer,
        GivenCertificate,
        OwnCertificates,
    )

    host, port, names = called_by(front.listen, front.names)
    listener = listen(host, port)
    folder = settings(context).home
    certificate: Any = OwnCertificates(folder, names)
    if front.certificate is not None:
        certificate = GivenCertificate(front.certificate)
    url = f"https://{f'[{names[0]}]' if ':' in names[0] else names[0]}:{listener.getsockname()[1]}"

    def told(state: str) -> None:
        if quiet:
            return
        if state == "listening":
            say(f"a front end listens at {url}, queue {link.called}")
            if front.certificate is None:
                say(f"its certificate chains to {folder / AUTHORITY_CERTIFICATE} (`proxy_ca` of clients)")
        if state == "ready":
            say(f"ready: {url}")

    return FrontEndServer(link, listener, certificate, front.max_queue, told)
