"""`confide policy`: say which measured program may use which keys, sign it, look at it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.attestation.claims import Tee
from confide.cli.brokers import authorities
from confide.cli.context import open_home, sole_owner
from confide.cli.options import (
    AccelOption,
    BrokerCaOption,
    ExecutorImageOption,
    GuestOption,
    JsonOption,
    with_program_options,
)
from confide.cli.output import emit, say
from confide.cli.policy_evidence import from_evidence
from confide.cli.programs import ProgramOptions, check_executors, image_of, image_of_executors, keep_image
from confide.cli.submit import with_habits

if TYPE_CHECKING:
    from confide.broker.policy import Policy

app = typer.Typer(
    help="Policies: allow a program, check, sign and apply.",
    epilog="Example:  confide policy allow job.py --read data/patients --logs clinic/results",
    no_args_is_help=True,
)

app.command("from-evidence")(from_evidence)

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The policy document.")]
DEFAULT_FILE = Path("policy.toml")


@app.command()
@with_habits
@with_program_options
def allow(
    context: typer.Context,
    program: Annotated[
        Path, typer.Argument(help="The program, or an image folder made by `confide image build`.")
    ],
    read: Annotated[list[str] | None, typer.Option(help="LOCATION that it may read; repeat.")] = None,
    write: Annotated[
        list[str] | None, typer.Option(help="LOCATION=KEY: a table it may write; repeat.")
    ] = None,
    write_files: Annotated[
        list[str] | None,
        typer.Option(help="LOCATION=KEY: sealed files (CSV, text, checkpoints) it may write; repeat."),
    ] = None,
    read_stream: Annotated[
        list[str] | None,
        typer.Option(
            help="STREAM=KEY: it may open: rediss://HOST:PORT/NAME or kafka://HOST:PORT,.../TOPIC; repeat."
        ),
    ] = None,
    write_stream: Annotated[
        list[str] | None,
        typer.Option(help="STREAM=KEY: a stream it may append to, and open; repeat."),
    ] = None,
    logs: Annotated[
        str | None, typer.Option(help="Key that its output is sealed under; without: discarded.")
    ] = None,
    requests: Annotated[
        str | None, typer.Option(help="Of a server: key that requests are sealed to, or tokens made of.")
    ] = None,
    tee: Annotated[str, typer.Option(help="TEE that must vouch for it.")] = "simulated",
    days: Annotated[int, typer.Option(min=1, help="Validity from now on, for a new document.")] = 365,
    owner: Annotated[str | None, typer.Option(help="Whose policy, if this home has several owners.")] = None,
    file: FileOption = DEFAULT_FILE,
    workers: Annotated[
        bool,
        typer.Option("--workers", help="Allow its executors too, for `confide run --workers N`."),
    ] = False,
    executor_image: ExecutorImageOption = None,
    broker_ca: BrokerCaOption = None,
    guest: GuestOption = None,
    accel: AccelOption = "tcg",
    *,
    options: ProgramOptions,
    json: JsonOption = False,
) -> None:
    """Write into the policy document that this exact program may run, and what it may use.

    Only the document changes; `confide policy apply` signs it. Keys and table ids of what it reads are filled
    in from what this home knows of the location. With --guest the machine is booted once, here, for the values
    that its boot is measured as; nothing of the program runs.

    Examples:

        confide policy allow job.py --read data/patients --write out/report=clinic/results --logs clinic/results

        confide policy allow job.py --tee tpm --guest guest --read data/patients --logs clinic/results
        confide policy allow job-image --tee sgx --read data/patients   # signed; MRENCLAVE is measured again
    """
    from confide.cli.enclaves import enclave_identity
    from confide.cli.policy_document import grant, grant_read, open_document, put_workload
    from confide.enclave.verify import verify_image
    from confide.errors import Misuse

    if guest is not None and (workers or executor_image is not None):
        raise Misuse("--workers: executors do not run in guests that are started by `confide run`")
    if workers:
        check_executors(options.profile, options.libos)
    with open_home(context) as home:
        name = sole_owner(home.store, owner)
        brokers = authorities(home, broker_ca or [])
        images = [image_of(program, brokers, options)]
        if workers or executor_image is not None:
            images.append(image_of_executors(program, executor_image, brokers, options))
        for each in images:
            if each.folder in (program, executor_image):
                verify_image(each.folder)  # others may have made it: approved is what one reads there
            keep_image(home, each)
        image = images[0].image
        if image.owners and name not in image.owners:
            raise Misuse(f"{image.name} names who takes part: {', '.join(image.owners)}; not {name}")
        registers = {} if guest is None else _measured(guest, accel, tee, home.path, images[0].folder)
        newest = home.store.policy(name)
        document = open_document(file, name, newest.serial if newest else 0, days)
        measurements = {each.image.role: each.measurement for each in images}
        platform = {"registers": {name: [value] for name, value in registers.items()}} if registers else None
        if tee == Tee.SGX:
            identities = {each.image.role: enclave_identity(each.folder) for each in images}
            measurements = {role: mrenclave for role, (mrenclave, _) in identities.items()}
            platform = identities[image.role][1]
            if any(other != platform for _, other in identities.values()):
                raise Misuse("driver and executors are signed by different authors, or as different products")
        put_workload(
            document,
            image.name,
            tee=tee,
            measurements=measurements,
            logs=logs,
            requests=requests,
            platform=platform,
        )
        for location in read or []:
            grant_read(document, image.name, location, home.store.listing_at(name, location))
        for form, specs in (("table", write), ("files", write_files), ("stream", write_stream)):
            for spec in specs or []:
                grant(document, image.name, spec, form, "write")
        for spec in read_stream or []:
            grant(document, image.name, spec, "stream", "read")
    file.write_text(document.as_string(), encoding="utf-8")
    if json:
        serial = int(document["serial"])
        emit({"file": str(file), "workload": image.name, "measurements": measurements, "serial": serial})
        return
    for role, measurement in measurements.items():
        named = image.name if role == image.role else f"{image.name}, {role}"
        say(f"{file}: workload {named}, measurement {measurement[:16]}…, serial {document['serial']}")
    if not document.get("grant"):
        say(
            "nothing is granted yet, and a policy that grants nothing is refused: give --read or --write, too"
        )
        return
    say("look at it, then: confide policy apply " + str(file))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The policy document.")] = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Report every fault of a policy document at once, with line and reason. Exits 65 if there are any.

    Example:

        confide policy check policy.toml
    """
    from confide.broker.policy import parse_policy

    policy = parse_policy(_read(file))
    if json:
        emit({"ok": True, "owner": policy.owner, "serial": policy.serial})
        return
    workloads, grants = len(policy.workload), len(policy.grant)
    say(
        f"{file}: owner {policy.owner}, serial {policy.serial}: {workloads} workload(s), {grants} grant(s), no fault; "
        + _validity(policy)
    )


@app.command()
def apply(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The policy document.")] = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Check, sign with the owner's key, and put into force here (`confide push` sends it to a broker).

    Example:

        confide policy apply policy.toml
    """
    from confide.broker.policy import parse_policy
    from confide.broker.policy_signing import sign_policy
    from confide.keys.signing import private_key_from_raw

    toml = _read(file)
    policy = parse_policy(toml)
    with open_home(context) as home, home.store.transaction():
        key = private_key_from_raw(home.store.owner_signing_key(policy.owner))
        home.store.put_policy(policy.owner, policy.serial, sign_policy(toml, key), toml)
        home.store.audit.append({"kind": "policy", "owner": policy.owner, "serial": policy.serial})
    if json:
        emit({"owner": policy.owner, "serial": policy.serial, "not_after": policy.not_after.isoformat()})
        return
    say(f"policy of {policy.owner}, serial {policy.serial}, is in force: {_validity(policy)}")


@app.command()
def show(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Whose; without: every owner's.")] = None,
    json: JsonOption = False,
) -> None:
    """Print the policies in force.

    Example:

        confide policy show
    """
    with open_home(context) as home:
        policies = [p for p in home.store.policies() if owner in (None, p.owner)]
    if json:
        emit([{"owner": p.owner, "serial": p.serial, "toml": p.toml.decode()} for p in policies])
        return
    for policy in policies:
        typer.echo(policy.toml.decode())
    if not policies:
        say("no policy is in force: nothing is released to anything")


def _validity(policy: Policy) -> str:
    now = datetime.datetime.now(datetime.UTC)
    if policy.not_after <= now:
        return f"expired {policy.not_after:%Y-%m-%d}, so nothing is released"
    if policy.not_before > now:
        return f"not valid before {policy.not_before:%Y-%m-%d %H:%M} UTC"
    return f"valid until {policy.not_after:%Y-%m-%d}"


def _measured(guest: Path, accel: str, tee: str, home: Path, image: Path) -> dict[str, str]:
    """Return the registers that the boot of a guest is measured as, for this image."""
    from confide.enclave.guest.measure import PINNED, measured_boot
    from confide.enclave.guest.qemu import GuestMachine
    from confide.enclave.run import check_tee
    from confide.enclave.verify import verify_image

    machine = GuestMachine(guest, accel)
    check_tee(tee, machine)
    say(f"booting {guest} once, for what its boot is measured as")
    pcrs = measured_boot(machine, home, verify_image(image))
    return {name: pcrs[name] for name in PINNED}


def _read(file: Path) -> bytes:
    from confide.broker.policy import MAX_POLICY_BYTES
    from confide.errors import Misuse

    try:
        with file.open("rb") as stream:
            return stream.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}") from None
