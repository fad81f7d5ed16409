"""`confide serve`: serve models, in the clear for nobody but their clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from confide.cli.listening import NameOption, launch_parameters, stopped_by_signals
from confide.cli.options import (
    BrokerCaOption,
    BrokerOption,
    CoresOption,
    IncludeOption,
    LibosOption,
    MemoryOption,
    OwnerNeeded,
    ScratchOption,
    program_options,
)
from confide.cli.run import run
from confide.cli.serve_queue import MAX_QUEUE, FrontEndOptions, link_of, serve_queue
from confide.errors import Misuse


def serve(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A model, a folder of models, a sealed location, or `serving.toml`. None: a front end alone.",
            show_default=False,
        ),
    ] = None,
    listen: Annotated[str, typer.Option(help="ADDRESS:PORT; port 0: a free one.")] = "127.0.0.1:8443",
    grpc_listen: Annotated[
        str | None,
        typer.Option(help="ADDRESS:PORT for gRPC, where the owner's configuration has `plain_requests`."),
    ] = None,
    name: NameOption = None,
    queue: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Redis that sealed requests wait in: rediss://USER@HOST:PORT/DATABASE (docs/serving.md).",
        ),
    ] = None,
    queue_password: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the password of its user.")
    ] = None,
    queue_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate (PEM) of its authority. Default: the system's."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=999, help="With --queue: workers, each in an enclave of its own. Default: 1."
        ),
    ] = None,
    front_end: Annotated[
        bool | None,
        typer.Option(
            "--front-end/--no-front-end",
            help="With --queue: take clients' requests at --listen, too. Default: yes.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Private key and certificate (PEM) that the front end shows. Default: one of an authority of its own.",
        ),
    ] = None,
    max_queue: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --queue: requests that may wait; more are answered 429. Default: 10000."
        ),
    ] = None,
    tee: Annotated[
        str,
        typer.Option(
            help="TEE to serve in, as of `confide run`; `simulated`, which protects nothing, is never found by itself."
        ),
    ] = "",
    data: Annotated[Path, typer.Option(help="Folder that locations are relative to.")] = Path(),
    broker: BrokerOption = None,
    broker_ca: BrokerCaOption = None,
    include: IncludeOption = None,
    owner: OwnerNeeded = None,
    memory: MemoryOption = None,
    scratch: ScratchOption = None,
    cores: CoresOption = None,
    libos: LibosOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the states as JSON at the end.")] = False,
) -> None:
    """Serve models in one attested process, until interrupted: Open Inference Protocol over TLS 1.3, REST and gRPC.

    The owner allows it as any program: a plain model is measured with the image, a sealed one is a location that may
    be read, and --requests names the key that clients seal their requests to. docs/serving.md has the clients' side.

    Examples:

        confide policy allow model.onnx --profile serving --requests clinic/pool && confide policy apply policy.toml

        confide serve --tee simulated model.onnx

        confide serve --tee simulated models/iris --listen 0.0.0.0:8443 --name iris.clinic.example

        confide serve --tee simulated serving.toml --grpc-listen 127.0.0.1:8001

        confide serve --tee simulated model.onnx --queue rediss://pool@redis.example --queue-password pw --workers 4

        confide serve --front-end --queue rediss://pool@redis.example --queue-password pw --name iris.clinic.example
    """
    if queue is not None:
        if grpc_listen is not None:
            raise Misuse(
                "--grpc-listen: requests of gRPC are not sealed, and a queue holds sealed ones alone"
            )
        front = FrontEndOptions(listen, name, certificate, max_queue or MAX_QUEUE)
        serve_queue(
            context,
            model,
            link_of(queue, queue_password, queue_ca),
            None if front_end is False else front,
            workers=workers or 1,
            front_end_alone=bool(front_end) and model is None,
            tee=tee,
            data=data,
            broker=broker,
            broker_ca=broker_ca,
            options=program_options(
                profile="serving",
                include=include,
                owner_needed=owner,
                memory=memory,
                scratch=scratch,
                cores=cores,
                libos=libos,
            ),
            json=json,
        )
        return
    of_queues = {
        "--queue-password": queue_password,
        "--queue-ca": queue_ca,
        "--workers": workers,
        "--front-end": front_end,
        "--certificate": certificate,
        "--max-queue": max_queue,
    }
    if named := [option for option, value in of_queues.items() if value is not None]:
        raise Misuse(f"{named[0]} goes with --queue URL")
    if model is None:
        raise Misuse("which model? Name one, or a front end alone: --front-end --queue URL")
    addresses = {"listen": listen, **({} if grpc_listen is None else {"grpc": grpc_listen})}
    launch = launch_parameters(addresses, name)
    if grpc_listen is not None and not _takes_plain_requests(model):
        raise Misuse(
            "--grpc-listen: requests of gRPC are not sealed, and the owner's configuration (`serving.toml`) has no "
            "plain_requests = true"
        )
    with stopped_by_signals():
        run(
            context,
            model,
            tee=tee,
            data=data,
            profile="serving",
            broker=broker,
            broker_ca=broker_ca,
            include=include,
            owner_needed=owner,
            memory=memory,
            scratch=scratch,
            cores=cores,
            libos=libos,
            launch=launch,
            json=json,
        )


def _takes_plain_requests(program: Path) -> bool:
    """Return whether the configuration does; the worker looks itself, but says why to the owner alone."""
    from confide.enclave.image import IMAGE_FILE, ROOT_FOLDER
    from confide.serving.configuration import Configuration
    from confide.serving.image_spec import CONFIGURATION

    if (program / IMAGE_FILE).is_file():
        program = program / ROOT_FOLDER / CONFIGURATION.lstrip("/")
    if program.suffix != ".toml" or not program.is_file():
        return False
    return Configuration.from_toml(program.read_bytes()).plain_requests
