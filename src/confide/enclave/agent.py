"""The agent: the first process in the enclave, and the only one that runs before there are keys.

    boot document -> launch grammar -> evidence -> brokers -> job, of a member -> release -> agent socket -> workload
    -> exit code

Until it asks for keys, what it says on stderr is the host's to read; from then on the host gets states and
an exit code over the control socket, and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from pydantic import Field, ValidationError

from confide.broker.mesh_names import JOB, MEMBER
from confide.broker.release import Access, Release
from confide.data.listing import ListedFile, Listing
from confide.document import StrictModel
from confide.enclave.agent_socket import AgentSocket, JobCalls
from confide.enclave.attester import OwnEvidence, attester, stated_image
from confide.enclave.control import Control, read_line
from confide.enclave.early import EarlyChild
from confide.enclave.image import RUN, SCRATCH, WORK, Image
from confide.enclave.launch import ARGS, DRIVER, broker_of_job, broker_urls, check_launch, split_arguments
from confide.enclave.libos import GRAMINE, data_root, inside_libos
from confide.enclave.log import failure_told, workload_output, write_line
from confide.enclave.merge import merge_releases
from confide.enclave.processes import EarlyStarter, Starter, start_child
from confide.enclave.profile import Context, Profile
from confide.errors import ConfideError, LaunchRefused, NoGrant
from confide.keys.private_memory import keep_memory_private

if TYPE_CHECKING:
    from confide.broker.client import Session
    from confide.broker.mesh_member import MeshIdentity

IMAGE = Path("/run/image.json")
MAX_BOOT_BYTES = 256 * 1024


class Boot(StrictModel):
    """What the launcher says on standard input.

    Attributes:
        tee: kind of TEE.
        launch: launch parameters.
        control: descriptor of the control socket; None: standard input and output, as in an enclave that inherits
            nothing else.
        evidence: descriptor to the launcher, for `attester`; None: over the control line.
    """

    tee: str
    launch: dict[str, str]
    control: Annotated[int, Field(ge=3)] | None = None
    evidence: Annotated[int, Field(ge=3)] | None = None


@dataclass(frozen=True)
class Attested:
    """What the brokers gave.

    Attributes:
        sessions: broker name -> session.
        releases: broker name -> its release.
        release: all of them merged.
        mesh: see `Context`.
    """

    sessions: Mapping[str, Session]
    releases: Mapping[str, Release]
    release: Release
    mesh: Callable[[], MeshIdentity]

    def refresh(self) -> Release:
        """Return the release as policies and listings have it now.

        Raises:
            NoGrant: keys or owners are others now.
        """
        releases = {name: session.release() for name, session in self.sessions.items()}
        now = merge_releases(releases, self.release.owners)
        if (now.workload, now.owners, now.logs, now.requests) != (
            self.release.workload,
            self.release.owners,
            self.release.logs,
            self.release.requests,
        ):
            raise NoGrant("the owners' policies have changed: they are for another workload now")
        return now

    def commit(
        self, location: str, table: str, base_serial: int, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str]]:
        """Commit at the broker that granted writing to `location`.

        Raises:
            NoGrant: none did.
            Conflict: someone else committed meanwhile.
        """
        for broker, release in sorted(self.releases.items()):
            for grant in release.grants:
                if grant.location == location and grant.access is Access.WRITE:
                    return self.sessions[broker].commit_listing(location, table, base_serial, files)
        raise NoGrant(f"nobody grants writing to {location}")


def main(profile: Profile, children: Sequence[EarlyChild] = (), *, asked: bool = False) -> NoReturn:
    """Run as the first process of an enclave, to the end of the workload. Never returns.

    Args:
        profile: runs the workload.
        children: that `early.prepare` forked, if it did.
        asked: processes of the workload ask for keys and commits over the agent socket; else there is none.
    """
    keep_memory_private()
    boot = _read_boot()
    if boot.evidence is not None:
        os.set_inheritable(boot.evidence, False)
    control = Control.over_standard_streams() if boot.control is None else Control(boot.control, boot.control)
    released = logged = False
    try:
        image = Image.from_json(IMAGE.read_bytes())  # canonical: its hash was just measured
        parameters = check_launch(image, boot.launch)
        _fall_silent()
        channel = control if boot.evidence is None else boot.evidence
        evidence = OwnEvidence(boot.tee, stated_image(image), attester(boot.tee, channel))
        attested = _attest(image, evidence, parameters, control)
        released, logged = True, attested.release.logs is not None
        start = EarlyStarter(children) if inside_libos() == GRAMINE else start_child
        code = _run(profile, image, parameters, attested, evidence, control, start, asked=asked)
    except ConfideError as error:
        control.failed(error, released, logged)
        os._exit(error.exit_code)
    except BaseException:  # noqa: BLE001 - no traceback may leave with values of the workload in it
        control.failed(ConfideError("internal error of the agent"), keys_released=True)
        os._exit(ConfideError.exit_code)
    control.say("finished", exit_code=code)
    os._exit(code)  # whatever the workload left running ends with the PID namespace


def _read_boot() -> Boot:
    data = read_line(0, MAX_BOOT_BYTES)
    try:
        boot = Boot.from_json(data)
    except ValidationError:
        raise LaunchRefused("not a boot document") from None
    return boot


def _attest(image: Image, evidence: OwnEvidence, parameters: Mapping[str, str], control: Control) -> Attested:
    from confide.broker.client import KbsClient
    from confide.broker.introduction import pinned_authority
    from confide.broker.mesh_member import join_mesh

    sessions: dict[str, Session] = {}
    authorities: dict[str, bytes] = {}
    for broker, url in broker_urls(parameters).items():
        authorities[broker] = pinned_authority(url, image.brokers[broker].encode(), int(time.time()))
        client = KbsClient(url, authorities[broker])
        sessions[broker] = client.attest(evidence.tee, evidence.attester, parameters, evidence.image)
        control.say("attested", broker=broker)
    joined = None
    if JOB in image.launch:  # before any key: whoever has no place in the job gets none
        broker = broker_of_job(sessions)
        joined = join_mesh(sessions[broker], authorities[broker], image.role, parameters[JOB])
        if DRIVER in image.launch:
            joined.require_driver(parameters[DRIVER])
        control.say("joined", job=joined.member.job)
    releases = {broker: session.release() for broker, session in sessions.items()}
    release = merge_releases(releases, image.owners)
    kept = release.logs is not None
    control.say("released", workload=release.workload, owners=" ".join(release.owners), logs=kept)

    @functools.cache
    def mesh() -> MeshIdentity:
        broker = broker_of_job(sessions)
        return joined or join_mesh(sessions[broker], authorities[broker], image.role, releases[broker])

    return Attested(sessions, releases, release, mesh)


def _run(
    profile: Profile,
    image: Image,
    parameters: Mapping[str, str],
    attested: Attested,
    evidence: OwnEvidence,
    control: Control,
    start: Starter,
    *,
    asked: bool,
) -> int:
    secrets: dict[str, object] = {}
    socket_path, work = Path(RUN) / "agent.sock", data_root()

    def announce(driver: str, application: str) -> None:
        job = attested.mesh().member.job
        control.say("opened", job=job, driver=driver, application=application)

    def agent_socket() -> AgentSocket:
        job = JobCalls(attested.refresh, announce)
        return AgentSocket(socket_path, attested.release, WORK, SCRATCH, secrets, attested.commit, job)

    with (
        contextlib.closing(agent_socket()) if asked else contextlib.nullcontext(),
        workload_output(attested.release, work, _member(image, parameters)) as output,
        failure_told(output),
    ):
        control.listen(lambda line: write_line(output, f"the host says: {line}"))
        code = profile.run(
            Context(
                image=image,
                launch=parameters,
                arguments=split_arguments(parameters.get(ARGS, "")),
                release=attested.release,
                work=work,
                scratch=Path(SCRATCH),
                socket=socket_path,
                output=output,
                secrets=secrets,
                commit=attested.commit,
                started=lambda: control.say("started"),
                mesh=attested.mesh,
                start=start,
                tell=control.say,
                evidence=evidence,
                renew=attested.refresh,
            )
        )
    return code if code >= 0 else 128 - code


def _member(image: Image, parameters: Mapping[str, str]) -> str:
    """What the log of a member of a job is called by; empty for others."""
    return f"{image.role}-{parameters[MEMBER]}" if MEMBER in parameters else ""


def _fall_silent() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
