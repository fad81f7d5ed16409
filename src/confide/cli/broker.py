"""`confide broker`: serve keys to attested workloads; enroll owners and hosts. `confide push`: an owner's side."""

from __future__ import annotations

import base64
import binascii
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.attestation.claims import Tee
from confide.cli.brokers import broker_authority
from confide.cli.context import open_home, settings, sole_owner
from confide.cli.output import SIMULATED_NOTE, TPM_NOTE, emit, say, tee_note
from confide.cli.sources import KdsOption, PccsCaOption, PccsOption, read_sources
from confide.errors import BrokerUntrusted, Misuse

if TYPE_CHECKING:
    from confide.broker.ca import Attest

app = typer.Typer(
    help="A broker of its own: serve, enroll owners and hosts. The whole sequence: docs/how-to/own-broker.md.",
    epilog="Example:  confide broker serve --listen 0.0.0.0:8443 --name kbs.clinic.example",
    no_args_is_help=True,
)

_ED25519_BYTES = 32

KeyArgument = Annotated[
    str, typer.Argument(help="Ed25519 public key, base64, as `confide broker identity` prints it.")
]


@app.command()
def serve(
    context: typer.Context,
    listen: Annotated[
        str, typer.Option(help="Address and port; port 0 lets the system choose.")
    ] = "127.0.0.1:8443",
    name: Annotated[list[str] | None, typer.Option(help="DNS name or address clients use; repeat.")] = None,
    allow_simulated: Annotated[
        bool, typer.Option("--allow-simulated", help="Accept the TEE `simulated`, which protects nothing.")
    ] = False,
    tee: Annotated[
        str,
        typer.Option(
            help="TEE that this broker itself runs in: its certificate then carries evidence of it."
        ),
    ] = "",
    allow_tpm: Annotated[
        bool,
        typer.Option(
            "--allow-tpm",
            help="Accept the TEE `tpm` of enrolled TPMs: boot is measured, memory is NOT confidential.",
        ),
    ] = False,
    pccs: PccsOption = None,
    pccs_ca: PccsCaOption = None,
    kds: KdsOption = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Fetch nothing that evidence is verified with; `confide collateral import` has it.",
        ),
    ] = False,
) -> None:
    """Serve the KBS protocol over TLS 1.3 until interrupted.

    Evidence of hardware is verified with what its makers publish, fetched when it is needed: docs/collateral.md.

    Examples:

        confide init && confide broker ca > ca.pem

        confide broker serve --listen 0.0.0.0:8443 --name kbs.clinic.example

        confide broker serve --listen 0.0.0.0:8443 --name kbs.clinic.example --tee snp   # inside a confidential VM

        confide broker serve --pccs https://pccs.clinic.example:8081 --pccs-ca pccs-ca.pem
    """
    from confide.broker.collateral.service import hardware_trust
    from confide.broker.collateral.sources import OFFLINE
    from confide.broker.server import serve_forever

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise Misuse(f"not ADDRESS:PORT: {listen!r}")
    if offline and (pccs or pccs_ca or kds):
        raise Misuse("--offline asks no server: leave out --pccs, --pccs-ca, --kds")
    sources = OFFLINE if offline else read_sources(pccs, pccs_ca, kds)
    with open_home(context) as home, hardware_trust(home.store, sources) as hardware:
        if allow_simulated:
            say(f"accepting {SIMULATED_NOTE}")
        if allow_tpm:
            say(f"accepting {TPM_NOTE}")
        serve_forever(
            home.store,
            host=host.strip("[]"),
            port=int(port),
            names=tuple(name or (host.strip("[]"),)),
            allow_simulated=allow_simulated,
            allow_tpm=allow_tpm,
            hardware=hardware,
            attest=_attest(tee, settings(context).home) if tee else None,
            on_ready=lambda url: say(f"serving {url}"),
        )


@app.command()
def verify(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="https://HOST:PORT of the broker.")],
    accept: Annotated[
        Path | None, typer.Option(help="Document of the accepted broker: docs/formats/broker-identity.md.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Verify the evidence of a broker that runs in a TEE, and print its authority's certificate.

    Without --accept there is nothing to hold the evidence against: the document that would accept it is printed
    instead, to be compared with what the broker's operator published, and the exit code is not 0.

    Examples:

        confide broker verify https://kbs.clinic.example:8443 --accept broker.toml > ca.pem

        confide broker verify https://kbs.clinic.example:8443   # what it says, as such a document
    """
    from confide.broker.accepted_broker import AcceptedBroker
    from confide.broker.introduction import find_broker, said_by
    from confide.cli.brokers import read_pin

    del context
    if accept is None:
        typer.echo(said_by(url), nl=False)
        say("not verified: give a document with --accept")
        raise typer.Exit(BrokerUntrusted.exit_code)
    found = find_broker(url, AcceptedBroker.from_toml(read_pin(accept)), int(time.time()))
    if json:
        emit({"url": url, "claims": asdict(found.claims), "authority": found.ca_pem.decode()})
        return
    tee = found.claims.tee
    say(f"{url} runs measurement {found.claims.measurement} in {tee}{tee_note(tee)}")
    typer.echo(found.ca_pem.decode(), nl=False)


def _attest(tee: str, home: Path) -> Attest:
    """Return what makes the evidence of this very process."""
    from confide.attestation.evidence import StatedImage
    from confide.broker.attested_leaf import ROLE, evidence_extension
    from confide.enclave.issuer import open_issuer
    from confide.enclave.self_measurement import measure_self
    from confide.enclave.simulated.host import host_key
    from confide.enclave.simulated.issuer import SimulatedIssuer

    image = StatedImage(measurement=measure_self(), role=ROLE, svn=0)
    issuer = SimulatedIssuer(host_key(home), image) if tee == Tee.SIMULATED else open_issuer(tee)
    return lambda key, authority: evidence_extension(
        key, authority, tee, lambda runtime: issuer.issue(runtime.report_data()), image
    )


@app.command()
def ca(context: typer.Context) -> None:
    """Print the certificate of the broker's authority, for --broker-ca.

    Example:

        confide broker ca > ca.pem
    """
    with open_home(context) as home:
        typer.echo(broker_authority(home).certificate_pem.decode(), nl=False)


@app.command()
def identity(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Which owner, if this home has several.")] = None,
    host: Annotated[
        bool, typer.Option("--host", help="This machine's simulated host instead of the owner.")
    ] = False,
    tpm: Annotated[
        bool, typer.Option("--tpm", help="The software TPM of this home's guests instead of the owner.")
    ] = False,
    tpm_device: Annotated[
        Path | None, typer.Option(help="This machine's own TPM, /dev/tpmrm0, instead of the owner.")
    ] = None,
) -> None:
    """Print the public key that a broker's administrator enrolls.

    Examples:

        confide broker identity

        confide broker identity --host

        confide broker identity --tpm
    """
    from confide.enclave.guest.software_tpm import attestation_key
    from confide.enclave.issuers.tpm import attestation_key_of
    from confide.enclave.simulated.host import host_key
    from confide.keys.signing import raw_public

    if host + tpm + (tpm_device is not None) > 1:
        raise Misuse("--host, --tpm or --tpm-device: one of them")
    if tpm or tpm_device:
        key = attestation_key_of(tpm_device) if tpm_device else attestation_key(settings(context).home)
        typer.echo(base64.b64encode(key).decode())
        return
    if host:
        typer.echo(base64.b64encode(raw_public(host_key(settings(context).home).public_key())).decode())
        return
    with open_home(context) as home:
        typer.echo(base64.b64encode(home.store.owner(sole_owner(home.store, owner))).decode())


@app.command("enroll-owner")
def enroll_owner(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Owner's name.")], key: KeyArgument
) -> None:
    """Pin an owner's key: from now on only it changes anything under `NAME/`.

    Example:

        confide broker enroll-owner clinic "$KEY"
    """
    from confide.keys.names import parse_owner

    owner, public = parse_owner(name), _public_key(key)
    with open_home(context) as home, home.store.transaction():
        home.store.put_owner(owner, public)
        home.store.audit.append({"kind": "owner", "owner": owner})
    say(f"owner {owner} enrolled")


@app.command("enroll-host")
def enroll_host(
    context: typer.Context,
    key: Annotated[
        str,
        typer.Argument(help="Base64, as `confide broker identity --host` or `--tpm` prints it."),
    ],
) -> None:
    """Let a machine run the TEE `simulated`, or `tpm`, for this broker, by its host's or its TPM's key.

    Examples:

        confide broker enroll-host "$(confide --home ~/.confide broker identity --host)"

        confide broker enroll-host "$(confide --home ~/.confide broker identity --tpm)"
    """
    raw = _decoded(key)
    with open_home(context) as home, home.store.transaction():
        is_host = len(raw) == _ED25519_BYTES
        host = home.store.enroll_host(raw) if is_host else home.store.enroll_tpm(raw)
        home.store.audit.append({"kind": "host", "host": host})
    say(f"{'host' if is_host else 'TPM'} {host} enrolled ({SIMULATED_NOTE if is_host else TPM_NOTE})")


def push(
    context: typer.Context,
    broker: Annotated[str, typer.Option(help="URL of the broker.")],
    broker_ca: Annotated[
        Path, typer.Option(help="Certificate (PEM) of its authority, or accepted broker (TOML).")
    ],
    owner: Annotated[str | None, typer.Option(help="Whose, if this home has several owners.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send an owner's keys, policy and listings to a broker, each call signed by the owner.

    Example:

        confide push --broker https://kbs.clinic.example:8443 --broker-ca ca.pem
    """
    from confide.broker.publish import publish
    from confide.cli.brokers import owner_client

    with open_home(context) as home:
        name = sole_owner(home.store, owner)
        done = publish(home.store, name, owner_client(home.store, name, broker, broker_ca))
    if json:
        emit({"broker": broker, "owner": name, **asdict(done)})
        return
    say(f"{broker}: {done.keys} key(s), {done.listings} listing(s), policy serial {done.policy or 'none'}")


def _public_key(text: str) -> bytes:
    raw = _decoded(text)
    if len(raw) != _ED25519_BYTES:
        raise Misuse("not an Ed25519 public key in base64 (32 bytes)")
    return raw


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Misuse("not a public key in base64") from None
