"""`confide run`: run an unmodified program on encrypted data."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confide.attestation.claims import Tee
from confide.cli.context import has_home, open_home, settings
from confide.cli.hints import advice
from confide.cli.listening import NameOption, launch_parameters
from confide.cli.options import (
    AccelOption,
    BrokerCaOption,
    BrokerOption,
    ExecutorImageOption,
    GuestOption,
    named_values,
    with_program_options,
)
from confide.cli.output import Steps, emit, say, tee_note
from confide.cli.programs import (
    BuiltImage,
    ProgramOptions,
    check_executors,
    image_of,
    image_of_executors,
    with_changes,
)
from confide.cli.submit import with_habits
from confide.errors import LaunchRefused, MeasurementRefused, MissingDependency, Misuse, NoGrant

if TYPE_CHECKING:
    from confide.broker.home import Home
    from confide.enclave.guest.qemu import GuestMachine
    from confide.enclave.image import Image

_VIEWERS = (
    "--ui: viewers' tokens are made of a key that the policy names: `confide policy allow PROGRAM --requests "
    "OWNER/KEY`; and what the program reads and writes needs a [[grant]] in it."
)


@with_habits
@with_program_options
def run(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="The program, or an image folder.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Its arguments, as the program declares them.")
    ] = None,
    tee: Annotated[
        str,
        typer.Option(
            help="TEE to run under: `sgx`, `tdx`, `snp`, `az-snp-vtpm`, `az-tdx-vtpm`; `tpm`, whose memory is not "
            "confidential; or `simulated`, which protects nothing. Without it, the one that this machine is a guest "
            "of; never one of those two."
        ),
    ] = "",
    data: Annotated[
        Path, typer.Option(help="Folder that locations are relative to; `/work` inside.")
    ] = Path(),
    broker: BrokerOption = None,
    broker_ca: BrokerCaOption = None,
    scratch_disk: Annotated[
        Path | None,
        typer.Option(help="Folder for scratch space on disk, encrypted with a key made for the run."),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=0,
            max=9999,
            help="Executors (of Flink: task managers), each in an enclave of its own. 0: none, all in one.",
        ),
    ] = 0,
    local_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=9999,
            help="How many of them to start on this machine. Default: all; others join from elsewhere.",
        ),
    ] = None,
    worker_cores: Annotated[
        int | None, typer.Option(min=1, help="Cores of each executor. Default: this machine's, shared out.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address of this machine, at which driver and executors reach one another. Default: 127.0.0.1."
        ),
    ] = None,
    executor_image: ExecutorImageOption = None,
    launch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Launch parameter that the image declares; repeat."),
    ] = None,
    job: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File, on storage that all see, through which executors elsewhere find their driver: its run writes "
            "it, a run of their image waits for it.",
        ),
    ] = None,
    ui: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS:PORT",
            help="Serve Spark's web pages there, by TLS, to those with the token of the policy's key for requests.",
        ),
    ] = None,
    name: NameOption = None,
    guest: GuestOption = None,
    accel: AccelOption = "tcg",
    dry_run: Annotated[
        str | None,
        typer.Option(metavar="k8s", help="Print the Kubernetes objects that would run it; run nothing."),
    ] = None,
    container: Annotated[
        str, typer.Option(help="With --dry-run: image of the containers, as deploy/ builds it.")
    ] = "confide-spark",
    *,
    options: ProgramOptions,
    json: Annotated[bool, typer.Option("--json", help="Print the states as JSON at the end.")] = False,
) -> None:
    """Build the program's image, attest, get keys, run it; exit with the program's own exit code.

    What it prints is sealed for the owner (`confide logs`); what it writes is encrypted where the policy says.
    Without --broker, this home serves as the broker, for the TEEs `simulated` and `tpm` only.

    Examples:

        confide run --tee simulated job.py --year=2013

        confide run --tee simulated --broker https://kbs.clinic.example:8443 --broker-ca clinic-ca.pem job.py

        confide run --tee simulated --profile python train.py

        confide run --tee simulated --workers 2 job.py   # driver and two executors (docs/cluster.md)

        confide run --tee simulated --profile spark35 --conf 'spark.master=local-cluster[2,1,1024]' job.py

        confide run --tee simulated --ui 127.0.0.1:4440 job.py   # Spark's web pages (docs/how-to/spark-ui.md)

        confide run --tee tpm --guest guest job.py    # in a virtual machine whose boot is measured

        confide run --broker https://kbs.clinic.example:8443 --broker-ca clinic-ca.pem job.py   # in a confidential VM

        confide run --tee sgx --libos gramine --broker https://kbs.example:8443 --broker-ca clinic-ca.pem job-image

        confide run --dry-run k8s --tee tdx --broker https://kbs.example:8443 --broker-ca clinic-ca.pem job-image
    """
    from confide.cli.enclaves import enclave_for_run
    from confide.enclave.executors import run_job
    from confide.enclave.guest.qemu import GuestMachine
    from confide.enclave.job_file import told_in, wait_for_job
    from confide.enclave.launch import EXECUTOR
    from confide.enclave.run import RunRequest, check_tee
    from confide.enclave.run import run as run_image

    libos = options.libos
    if ui is not None and libos is not None:
        raise Misuse("--ui: an enclave of a library OS has no threads for Spark's web server")
    if ui is not None and guest is not None:
        raise Misuse("--ui: nobody reaches a port of a guest that is started here")
    if ui is None and name:
        raise Misuse("--name goes with --ui ADDRESS:PORT")
    pages = [] if ui is None else launch_parameters({"ui": ui}, name)
    if dry_run is not None:
        from confide.cli.kubernetes import CLUSTER, print_objects

        if dry_run != CLUSTER:
            raise Misuse(f"--dry-run {dry_run}: there is {CLUSTER}")
        print_objects(
            program,
            arguments or [],
            tee=tee,
            container=container,
            brokers=broker or [],
            authorities=broker_ca or [],
            launch=named_values("--launch", [*(launch or []), *pages]),
            workers=workers,
            worker_cores=worker_cores,
            executor_image=executor_image,
            libos=libos,
        )
        return
    tee = tee or found_tee(quiet=json)
    machine = None if guest is None else GuestMachine(guest, accel)
    if machine is not None and scratch_disk is not None:
        raise Misuse(
            "--scratch-disk is of this machine, and --guest starts another: its scratch space is in memory"
        )
    if machine is not None and workers:
        raise Misuse("--workers: executors do not run in guests that are started here")
    if machine is not None and libos is not None:
        raise Misuse("--guest and --libos are two ways to run an image: give one")
    check_tee(tee, machine, libos)  # like all that can be told before an image is built
    if workers and len(broker or []) > 1:
        raise Misuse("--workers: a job has one broker, at which all its owners are (docs/cluster.md)")
    if workers:
        check_executors(options.profile, options.libos)
    of_workers = {
        "--local-workers": local_workers,
        "--worker-cores": worker_cores,
        "--host": host,
        "--executor-image": executor_image,
    }
    if job is None and not workers and (named := [n for n, value in of_workers.items() if value is not None]):
        raise Misuse(f"{named[0]} is of executors, and there are none: give --workers N")
    report = Report(tee, quiet=json)
    with brokers_for(context, tee, machine, broker or [], broker_ca or []) as brokers:
        built = image_of(program, brokers.authorities, options)
        report.image(built)
        each = worker_cores or max(1, (os.cpu_count() or 1) // max(1, workers))
        here = host or "127.0.0.1"
        member = {"host": here, "cores": str(each)}
        joined: Mapping[str, str] = {}
        if job is not None and built.image.role == EXECUTOR:
            joined = wait_for_job(job) | member
        elif job is not None and not workers:
            raise Misuse("--job: for a driver with --workers, or for an image of its executors")
        enclave = None if libos is None else enclave_for_run(built, tee, libos)
        request = RunRequest(
            image=built.folder,
            tee=tee,
            home=settings(context).home,
            brokers=brokers.urls,
            data_root=data.absolute(),
            arguments=tuple(arguments or ()),
            launch={**named_values("--launch", [*(launch or []), *pages]), **joined},
            scratch_disk=None if scratch_disk is None else scratch_disk.absolute(),
            machine=machine,
            enclave=enclave,
        )
        images = [built]
        try:
            with (
                advice(LaunchRefused, _declaration(built.image, request.arguments)),
                advice(NoGrant, _VIEWERS if ui is not None else None),
            ):
                if workers:
                    images.append(image_of_executors(program, executor_image, brokers.authorities, options))
                    executor = replace(
                        request,
                        image=images[1].folder,
                        enclave=None if libos is None else enclave_for_run(images[1], tee, libos),
                        arguments=(),
                        launch=member,
                    )
                    flink = built.image.profile == "flink"  # whose driver counts slots
                    of_driver = {"host": here, "executors": str(workers)} | (
                        {"cores": str(each)} if flink else {}
                    )
                    driver = replace(request, launch={**request.launch, **of_driver})
                    started = workers if local_workers is None else local_workers
                    with told_in(job, report.status) as told:
                        code = run_job(driver, executor, started, told, end_alone=not flink)
                else:
                    with contextlib.closing(report.steps):
                        code = run_image(request, report.status)
        except MeasurementRefused as error:
            changed = with_changes(error, brokers.home, images[-1] if report.executor_lost else images[0])
            if changed is error and report.executor_lost:
                error.add_note(
                    "the owner allows executors too with `confide policy allow PROGRAM --workers`."
                )
            raise changed from None
    if json:
        emit({"tee": tee, "measurement": built.measurement, "exit_code": code, "states": report.states})
    raise typer.Exit(code)


def found_tee(*, quiet: bool) -> str:
    """Return the TEE that this machine is a guest of."""
    from confide.enclave.issuers.find import find_issuer

    with advice(
        MissingDependency, "to try things out on any machine: --tee simulated, which protects nothing."
    ):
        found = find_issuer()
    if not quiet:
        say(f"TEE {found.tee}, evidence by {found.by}")
    return str(found.tee)


@dataclass(frozen=True)
class Brokers:
    """The brokers of a run: name -> authority, name -> URL, and the home of the one inside, if it is that."""

    authorities: Mapping[str, str]
    urls: Mapping[str, str]
    home: Home | None


@contextlib.contextmanager
def brokers_for(
    context: typer.Context,
    tee: str,
    machine: GuestMachine | None,
    urls: list[str],
    authorities: list[Path],
) -> Iterator[Brokers]:
    """Yield the brokers that are named, or else the one of this home, which serves for the time of the block."""
    from confide.cli.brokers import EMBEDDED, embedded_authority, named_authorities

    home_folder = settings(context).home
    if urls:
        named = named_authorities(authorities)
        if len(urls) != len(named):
            raise Misuse("give one --broker-ca for each --broker, in the same order")
        _check_remote(urls, home_folder if tee == Tee.SIMULATED else None)
        yield Brokers(named, dict(zip(named, urls, strict=True)), None)
        return
    if tee not in (Tee.SIMULATED, Tee.TPM):
        raise Misuse(
            f"which broker? The one inside `confide run` serves `simulated` and `tpm` only, and this is {tee}: "
            "give --broker URL --broker-ca FILE (`confide broker serve`, on the owner's premises)"
        )
    if not has_home(home_folder):
        raise Misuse(
            f"no home at {home_folder}: `confide init OWNER` makes one; "
            "or give --broker URL --broker-ca FILE to run with another's broker"
        )
    from confide.broker.server import LOCAL_NAMES, EmbeddedBroker
    from confide.enclave.guest.qemu import GATEWAY

    simulated, names = tee == Tee.SIMULATED, LOCAL_NAMES if machine is None else (*LOCAL_NAMES, GATEWAY)
    with (
        open_home(context) as home,
        EmbeddedBroker(home.store, allow_simulated=simulated, allow_tpm=not simulated, names=names) as server,
    ):
        url = server.url if machine is None else f"https://{GATEWAY}:{server.url.rpartition(':')[2]}"
        yield Brokers(embedded_authority(home), {EMBEDDED: url}, home)


def _check_remote(urls: list[str], home: Path | None) -> None:
    from confide.broker.home import HOST_KEY_NAME
    from confide.enclave.launch import BROKER_URL

    for url in urls:
        if not BROKER_URL.fullmatch(url):
            raise Misuse(f"--broker {url}: give an https URL of a host")
    if home is not None and not (home / HOST_KEY_NAME).exists():
        raise Misuse(
            f"no host key in {home}: `confide broker identity --host` makes one; "
            "the broker's administrator enrolls it"
        )


def _declaration(image: Image, arguments: Sequence[str]) -> str | None:
    """Return how to declare the arguments that the image does not take; None if it takes all."""
    new = [a for a in arguments if not any(re.fullmatch(pattern, a) for pattern in image.args)]
    if not new:
        return None
    patterns = [re.escape(argument).replace(r"\-", "-") for argument in new]
    line = dumps([*image.args, *patterns], ensure_ascii=False)
    return (
        f"declare it in the program's [tool.confide] block: `# args = {line}`, or with --arg at `policy allow` and "
        "`run` alike; then approve again."
    )


class Report:
    """Tells the operator the state, and nothing of the data."""

    def __init__(self, tee: str, *, quiet: bool) -> None:
        self._note = tee_note(tee)
        self._quiet = quiet
        self._logs = True
        self.steps = Steps()
        self.executor_lost = False
        self.states: list[Mapping[str, Any]] = []

    def image(self, built: BuiltImage) -> None:
        """Tell what is going to run."""
        size = sum(file.size for file in built.image.files) / 2**20
        self._say(f"{built.image.name}: {len(built.image.files):,} files, {size:,.0f} MiB")
        self._say(f"measurement {built.measurement}")

    def status(self, status: Mapping[str, Any]) -> None:
        """Tell one state."""
        if status.get("state") == "progress":
            self._progress(status.get("done"), status.get("total"))
            return
        self.states.append(status)
        if "executor" in status:
            self._executor(status)
            return
        if "worker" in status:
            self._worker(status)
            return
        match status.get("state"):
            case "verified":
                self._say(f"image verified, every file rehashed{self._note}")
            case "booted":
                self._say("the guest is up, its boot measured")
            case "attested":
                self._say("attested")
            case "released":
                self._logs = bool(status.get("logs", True))
                self._say("keys released to the enclave")
            case "started":
                kept = "sealed for the owner" if self._logs else "discarded: the policy names no logs key"
                self._say(f"running; its output is {kept}")
            case "pages":
                self._say(f"web pages, while the program has a Spark context: {status.get('url')}")
            case "opened":
                self._say(f"job {status.get('job')} is open; its driver listens at {status.get('driver')}")
            case "ready":
                grpc = f", gRPC {status['grpc']}" if "grpc" in status else ""
                models = f", models {status['models']}" if "models" in status else ""
                self._say(f"ready: {status.get('url')}{grpc}{models}")
            case "finished":
                self._say(f"finished with exit code {status.get('exit_code')}")
                if status.get("exit_code") and self._logs:
                    self._say("why: `confide logs` (owner)")

    def _progress(self, done: object, total: object) -> None:
        if isinstance(done, int) and isinstance(total, int) and not self._quiet:
            self.steps(done, total)

    def _executor(self, status: Mapping[str, Any]) -> None:
        match status.get("state"):
            case "started":
                self._say(f"executor {status.get('executor')} runs, attested on its own")
            case "lost":
                self.executor_lost = True
                self._say(f"executor {status.get('executor')} ended: {status.get('ended')}")

    def _worker(self, status: Mapping[str, Any]) -> None:
        match status.get("state"):
            case "ready":
                models = f", models {status['models']}" if "models" in status else ""
                self._say(f"worker {status['worker']} is ready, attested on its own{models}")
            case "lost":
                self._say(f"worker {status['worker']} ended, and is replaced: {status.get('ended')}")

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(text)
