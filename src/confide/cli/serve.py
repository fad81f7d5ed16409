"""`confide serve`: serve models, in the clear for nobody but their clients."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

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

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - the user's choice


def serve(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(help="A model, a folder of models, a sealed location, or `serving.toml`."),
    ],
    listen: Annotated[str, typer.Option(help="ADDRESS:PORT; port 0: a free one.")] = "127.0.0.1:8443",
    name: Annotated[
        list[str] | None, typer.Option(help="Name or address by which clients call it; repeat.")
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
    """Serve models in one attested process, until interrupted: Open Inference Protocol over TLS 1.3.

    The owner allows it as any program: a plain model is measured with the image, a sealed one is a location that may
    be read, and --requests names the key that clients seal their requests to. docs/serving.md has the clients' side.

    Examples:

        confide policy allow model.onnx --profile serving --requests clinic/pool && confide policy apply policy.toml

        confide serve --tee simulated model.onnx

        confide serve --tee simulated models/iris --listen 0.0.0.0:8443 --name iris.clinic.example
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Misuse(f"not ADDRESS:PORT: {listen!r}")
    if not name and host.strip("[]") in _EVERYWHERE:
        raise Misuse(f"--listen {listen} is no name to call it by: say with --name what clients call it")
    names = name or [host.strip("[]")]
    with _stopped_by_signals():
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
            launch=[f"listen={listen}", f"names={','.join(names)}"],
            json=json,
        )


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C: the worker answers what it has, and the command ends with 0."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        signal.signal(signal.SIGTERM, before)
