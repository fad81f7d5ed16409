"""`confide run`: run an unmodified program on encrypted data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confide.cli.context import open_home, settings
from confide.cli.options import (
    ArgOption,
    BrokerCaOption,
    BrokerOption,
    CoresOption,
    IncludeOption,
    MemoryOption,
    OwnerNeeded,
    ProfileOption,
    ScratchOption,
    program_options,
)
from confide.cli.output import SIMULATED_NOTE, emit, say
from confide.errors import MeasurementRefused, Misuse

if TYPE_CHECKING:
    from confide.broker.home import Home
    from confide.cli.programs import BuiltImage


def run(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="The program, or an image folder.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Its arguments, as the program declares them.")
    ] = None,
    tee: Annotated[str, typer.Option(help="TEE to run under; there is no default. Today: `simulated`.")] = "",
    data: Annotated[
        Path, typer.Option(help="Folder that locations are relative to; `/work` inside.")
    ] = Path(),
    profile: ProfileOption = "spark",
    broker: BrokerOption = None,
    broker_ca: BrokerCaOption = None,
    arg: ArgOption = None,
    include: IncludeOption = None,
    owner: OwnerNeeded = None,
    memory: MemoryOption = None,
    scratch: ScratchOption = None,
    scratch_disk: Annotated[
        Path | None,
        typer.Option(help="Folder for scratch space on disk, encrypted with a key made for the run."),
    ] = None,
    cores: CoresOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the states as JSON at the end.")] = False,
) -> None:
    """Build the program's image, attest, get keys, run it; exit with the program's own exit code.

    What it prints is sealed for the owner (`confide logs`); what it writes is encrypted where the policy says.
    Without --broker, this home serves as the broker, for the TEE `simulated` only.

    Examples:

        confide run --tee simulated job.py --year=2013

        confide run --tee simulated --broker https://kbs.clinic.example:8443 --broker-ca clinic-ca.pem job.py

        confide run --tee simulated --profile python train.py
    """
    from confide.cli.programs import image_of, what_changed
    from confide.enclave.run import RunRequest
    from confide.enclave.run import run as run_image

    if not tee:
        raise Misuse("which TEE? give --tee (today: --tee simulated, which protects nothing)")
    options = program_options(profile, arg, include, owner, memory, scratch, cores)
    report = _Report(quiet=json)
    with _brokers(context, broker or [], broker_ca or []) as brokers:
        built = image_of(program, brokers.authorities, options)
        report.image(built)
        request = RunRequest(
            image=built.folder,
            tee=tee,
            home=settings(context).home,
            brokers=brokers.urls,
            data_root=data.absolute(),
            arguments=tuple(arguments or ()),
            scratch_disk=scratch_disk,
        )
        try:
            code = run_image(request, report.status)
        except MeasurementRefused as error:
            changed = what_changed(brokers.home, built) if brokers.home is not None else None
            if changed:
                raise MeasurementRefused(f"{error}; against the approved image: {changed}") from None
            raise
    if json:
        emit({"tee": tee, "measurement": built.measurement, "exit_code": code, "states": report.states})
    raise typer.Exit(code)


@dataclass(frozen=True)
class _Brokers:
    authorities: Mapping[str, str]
    urls: Mapping[str, str]
    home: Home | None


@contextlib.contextmanager
def _brokers(context: typer.Context, urls: list[str], authorities: list[Path]) -> Iterator[_Brokers]:
    from confide.cli.brokers import EMBEDDED, embedded_authority, named_authorities

    if urls:
        named = named_authorities(authorities)
        if len(urls) != len(named):
            raise Misuse("give one --broker-ca for each --broker, in the same order")
        yield _Brokers(named, dict(zip(named, urls, strict=True)), None)
        return
    from confide.broker.server import EmbeddedBroker

    with open_home(context) as home, EmbeddedBroker(home.store, allow_simulated=True) as server:
        yield _Brokers(embedded_authority(home), {EMBEDDED: server.url}, home)


class _Report:
    """Tells the operator the state, and nothing of the data."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.states: list[Mapping[str, Any]] = []

    def image(self, built: BuiltImage) -> None:
        """Tell what is going to run."""
        size = sum(file.size for file in built.image.files) / 2**20
        self._say(f"{built.image.name}: {len(built.image.files):,} files, {size:,.0f} MiB")
        self._say(f"measurement {built.measurement}")

    def status(self, status: Mapping[str, Any]) -> None:
        """Tell one state."""
        self.states.append(status)
        match status.get("state"):
            case "verified":
                self._say(f"image verified, every file rehashed ({SIMULATED_NOTE})")
            case "attested":
                self._say("attested")
            case "released":
                self._say("keys released to the enclave")
            case "started":
                self._say("running; its output is sealed for the owner")
            case "finished":
                self._say(f"finished with exit code {status.get('exit_code')}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(text)
