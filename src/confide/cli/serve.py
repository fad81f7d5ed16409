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
)
from confide.cli.run import run
from confide.errors import Misuse


def serve(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(help="A model, a folder of models, a sealed location, or `serving.toml`."),
    ],
    listen: Annotated[str, typer.Option(help="ADDRESS:PORT; port 0: a free one.")] = "127.0.0.1:8443",
    grpc_listen: Annotated[
        str | None,
        typer.Option(help="ADDRESS:PORT for gRPC, where the owner's configuration has `plain_requests`."),
    ] = None,
    name: NameOption = None,
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
    """
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
