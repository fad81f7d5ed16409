"""`confide spark`: servers of Spark that clients send queries to, and the clients' side of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.accepted import OwnerOption, WorkloadArgument, accepted_by_clients
from confide.cli.context import check_own_owner, open_home
from confide.cli.listening import NameOption, launch_parameters, stopped_by_signals
from confide.cli.options import (
    BrokerCaOption,
    BrokerOption,
    ConfOption,
    CoresOption,
    ExecutorImageOption,
    JarsOption,
    MemoryOption,
    OwnerNeeded,
    ScratchOption,
)
from confide.cli.output import SIMULATED_NOTE, emit, say
from confide.cli.run import run
from confide.cli.verify import CertificatesOption, CollateralOption
from confide.errors import Misuse

app = typer.Typer(
    help="Servers of Spark: Spark Connect, and SQL for JDBC and BI tools; and their clients.",
    epilog="Example:  confide spark connect --tee simulated analysts.toml",
    no_args_is_help=True,
)

ServerArgument = Annotated[
    Path, typer.Argument(help="The server's configuration (`NAME.toml`), or an image folder.")
]
ListenOption = Annotated[str, typer.Option(help="ADDRESS:PORT, of IPv4; port 0: a free one.")]
TeeOption = Annotated[
    str,
    typer.Option(
        help="TEE to serve in, as of `confide run`; `simulated`, which protects nothing, is never found by itself."
    ),
]
DataOption = Annotated[Path, typer.Option(help="Folder that locations are relative to.")]
WorkersOption = Annotated[
    int, typer.Option(min=0, max=9999, help="Executors, each in an enclave of its own. 0: none.")
]
JsonStates = Annotated[bool, typer.Option("--json", help="Print the states as JSON at the end.")]


def _serving(kind: str, port: int, called: str) -> Callable[..., None]:
    """Return the command that serves one kind of server; `called` is its help."""

    def serve(
        context: typer.Context,
        server: ServerArgument,
        listen: ListenOption = f"127.0.0.1:{port}",
        name: NameOption = None,
        tee: TeeOption = "",
        data: DataOption = Path(),
        broker: BrokerOption = None,
        broker_ca: BrokerCaOption = None,
        owner: OwnerNeeded = None,
        memory: MemoryOption = None,
        scratch: ScratchOption = None,
        cores: CoresOption = None,
        conf: ConfOption = None,
        jars: JarsOption = None,
        workers: WorkersOption = 0,
        executor_image: ExecutorImageOption = None,
        json: JsonStates = False,
    ) -> None:
        _check_kind(server, kind)
        launch = launch_parameters({"listen": listen}, name)
        with stopped_by_signals():
            run(
                context,
                server,
                profile="spark",
                tee=tee,
                data=data,
                broker=broker,
                broker_ca=broker_ca,
                owner_needed=owner,
                memory=memory,
                scratch=scratch,
                cores=cores,
                conf=conf,
                jars=jars,
                workers=workers,
                executor_image=executor_image,
                launch=launch,
                json=json,
            )

    serve.__doc__ = called
    return serve


app.command("connect")(
    _serving(
        "connect",
        15002,
        """Serve Spark Connect over TLS 1.3 until interrupted: notebooks and `pyspark --remote`.

    The owner allows it as any program, and --requests names the key that clients' tokens are made of. The
    clients' side: docs/how-to/spark-servers.md.

    Examples:

        confide policy allow analysts.toml --read data/patients --requests clinic/analysts --logs clinic/logs

        confide spark connect --tee simulated analysts.toml --listen 0.0.0.0:15002 --name spark.clinic.example
    """,
    )
)
app.command("sql-server")(
    _serving(
        "sql",
        10000,
        """Serve SQL over TLS 1.3 until interrupted: JDBC and BI tools, by HiveServer2's protocol.

    Like `confide spark connect`; the password of a connection is the client's token.

    Example:

        confide spark sql-server --tee simulated reports.toml --listen 0.0.0.0:10000 --name sql.clinic.example
    """,
    )
)


def _check_kind(server: Path, kind: str) -> None:
    from confide.enclave.image import IMAGE_FILE, read_image
    from confide.spark.image_spec import read_server
    from confide.spark.server_configuration import is_server

    program = server
    if (server / IMAGE_FILE).is_file():
        program = server / "root" / read_image(server).program.lstrip("/")
    if not is_server(program):
        raise Misuse(f"{server} is no server of Spark: that is a file NAME.toml, or an image of one")
    found = read_server(program).server
    if found != kind:
        raise Misuse(f'{server} says server = "{found}", and this command serves "{kind}"')


@app.command()
def accept(context: typer.Context, workload: WorkloadArgument, owner: OwnerOption = None) -> None:
    """Print, from the policy in force, the document by which clients accept the servers of a workload.

    Hand it to the clients over a way that they trust: it is what they verify servers against.

    Example:

        confide spark accept analysts > analysts.accept.toml
    """
    from confide.broker.accepted_server import AcceptedServer

    typer.echo(accepted_by_clients(context, workload, owner, AcceptedServer), nl=False)


@app.command()
def verify(
    url: Annotated[
        str,
        typer.Argument(
            help="sc://HOST:PORT, jdbc:hive2://HOST:PORT, or https://HOST:PORT of a program's web pages."
        ),
    ],
    accept: Annotated[Path, typer.Option(help="What it must be, as `confide spark accept` prints it.")],
    collateral: CollateralOption = None,
    certificates: CertificatesOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Verify the evidence of a server, and print the authority that its TLS certificate chains to.

    Clients that know nothing of evidence (JDBC, BI tools, `pyspark --remote`) trust that authority, and it alone.

    Example:

        confide spark verify sc://spark.clinic.example:15002 --accept analysts.accept.toml > ca.pem
    """
    from confide.cli.verify import hardware_trust
    from confide.spark.server_identity import accepted_servers, verify_at

    hardware = hardware_trust([*(collateral or []), *(certificates or [])], None)
    server = verify_at(url, accepted_servers(accept), hardware)
    if json:
        emit(
            {
                "url": url,
                "verified": int(time.time()),
                "claims": asdict(server.claims),
                "authority": server.authority_pem.decode(),
            }
        )
        return
    note = f" ({SIMULATED_NOTE})" if server.claims.tee == "simulated" else ""
    say(f"{url} runs measurement {server.claims.measurement} in {server.claims.tee}{note}")
    typer.echo(server.authority_pem.decode(), nl=False)


@app.command()
def token(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key that the policy names for requests, owner/name.")],
) -> None:
    """Print the token by which clients are known to the servers whose policy names this key for requests.

    It is a secret: whoever has it, and reaches a server, may ask whatever the server may read. `confide key rotate`
    makes another one beside it, `confide key revoke` ends one.

    Example:

        (umask 077; confide spark token clinic/analysts > token)
    """
    from confide.keys.names import KeyName
    from confide.spark.tokens import token as token_of

    name = KeyName.parse(key)
    with open_home(context) as home:
        check_own_owner(home.store, name.owner)
        named = home.store.key(name)
        typer.echo(token_of(named, named.current_version().version))
