"""`confide serving`: the clients' side of serving: what workers must be, and whether they are."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.accepted import OwnerOption, WorkloadArgument, accepted_by_clients
from confide.cli.output import SIMULATED_NOTE, emit, say
from confide.cli.verify import CertificatesOption, CollateralOption

app = typer.Typer(
    help="Clients of serving: what a worker must be, and whether it is.",
    epilog="Example:  confide serving accept iris > iris.toml",
    no_args_is_help=True,
)


@app.command()
def accept(
    context: typer.Context,
    workload: WorkloadArgument,
    owner: OwnerOption = None,
) -> None:
    """Print, from the policy in force, the document by which clients accept the workers of a workload.

    Hand it to the clients over a way that they trust: it is what they verify workers against.

    Example:

        confide serving accept iris > iris.toml
    """
    from confide.serving.identity import AcceptedServing

    typer.echo(accepted_by_clients(context, workload, owner, AcceptedServing), nl=False)


@app.command()
def verify(
    url: Annotated[str, typer.Argument(help="https://HOST:PORT of a worker.")],
    accept: Annotated[Path, typer.Option(help="What it must be, as `confide serving accept` prints it.")],
    collateral: CollateralOption = None,
    certificates: CertificatesOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Verify fresh evidence of a serving worker, and print the authority that its TLS certificates chain to.

    Clients of the Open Inference Protocol that seal nothing trust that authority, and it alone.

    Example:

        confide serving verify https://iris.clinic.example:8443 --accept iris.toml > ca.pem
    """
    from confide.cli.verify import hardware_trust
    from confide.serving.client import Client

    hardware = hardware_trust([*(collateral or []), *(certificates or [])], None)
    with Client(url, accept, hardware=hardware) as client:
        worker = client.verify()
    if json:
        emit(
            {
                "url": url,
                "verified": int(time.time()),
                "claims": asdict(worker.claims),
                "requests": str(worker.key.version),
                "authority": worker.authority_pem.decode(),
            }
        )
        return
    note = f" ({SIMULATED_NOTE})" if worker.claims.tee == "simulated" else ""
    say(f"{url} runs measurement {worker.claims.measurement} in {worker.claims.tee}{note}")
    say(f"requests are sealed to {worker.key.version}")
    typer.echo(worker.authority_pem.decode(), nl=False)


@app.command()
def token(
    client: Annotated[str, typer.Argument(help="What the client is called in serving.toml.")],
    json: Annotated[bool, typer.Option("--json", help="Print the token and its hash as JSON.")] = False,
) -> None:
    """Print a new token for a client, and what to write into serving.toml, which holds its hash alone.

    The token is a secret of that client, who gives it to `Client(..., token=...)`, or as `Authorization: Bearer` where
    plain requests are allowed. A second one beside the first lets a client change over; take the first out then.

    Example:

        (umask 077; confide serving token ward-7 > ward-7.token)
    """
    from confide.errors import Misuse
    from confide.serving.clients import new_token, token_sha256
    from confide.serving.configuration import MODEL_NAME

    if not MODEL_NAME.fullmatch(client):
        raise Misuse(
            f"a client's name has up to 64 letters, digits, dots, dashes and underscores, not {client!r}"
        )
    made = new_token()
    if json:
        emit({"client": client, "token": made, "token_sha256": token_sha256(made)})
        return
    say("write into serving.toml, and allow it again:")
    say(f"[client.{client if '.' not in client else f'{chr(34)}{client}{chr(34)}'}]")
    say(f'token_sha256 = ["{token_sha256(made)}"]')
    typer.echo(made)
