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
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydantic import Field, ValidationError

from confide.broker.mesh_names import JOB, MEMBER
from confide.broker.release import Access, Release
from confide.data.listing import ListedFile, Listing
from confide.document import StrictModel
from confide.enclave.agent_socket import AgentSocket, JobCalls
from confide.enclave.attester import attester, stated_image
from confide.enclave.control import Control
from confide.enclave.image import RUN, SCRATCH, WORK, Image
from confide.enclave.launch import ARGS, DRIVER, broker_urls, check_launch, split_arguments
from confide.enclave.log import failure_told, workload_output, write_line
from confide.enclave.merge import merge_releases
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
        control: descriptor of the control socket.
        evidence: descriptor to the launcher, for `attester`.
    """

    tee: str
    launch: dict[str, str]
    control: int = Field(ge=3)
    evidence: int = Field(ge=3)


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
        now = merge_releases({name: session.release() for name, session in self.sessions.items()}, ())
        if (now.workload, now.owners, now.logs) != (
            self.release.workload,
            self.release.owners,
            self.release.logs,
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


def main(profile: Profile) -> NoReturn:
    """Run as the first process of an enclave, to the end of the workload. Never returns."""
    keep_memory_private()
    boot = _read_boot()
    os.set_inheritable(boot.evidence, False)
    control = Control(boot.control)
    released = logged = False
    try:
        image = Image.from_json(IMAGE.read_bytes())  # canonical: its hash was just measured
        parameters = check_launch(image, boot.launch)
        _fall_silent()
        attested = _attest(image, boot, parameters, control)
        released, logged = True, attested.release.logs is not None
        code = _run(profile, image, parameters, attested, control)
    except ConfideError as error:
        control.failed(error, released, logged)
        os._exit(error.exit_code)
    except BaseException:  # noqa: BLE001 - no traceback may leave with values of the workload in it
        control.failed(ConfideError("internal error of the agent"), keys_released=True)
        os._exit(ConfideError.exit_code)
    control.say("finished", exit_code=code)
    os._exit(code)  # whatever the workload left running ends with the PID namespace


def _read_boot() -> Boot:
    data = sys.stdin.buffer.read(MAX_BOOT_BYTES + 1)
    try:
        boot = Boot.from_json(data)
    except ValidationError:
        raise LaunchRefused("not a boot document") from None
    return boot


def _attest(image: Image, boot: Boot, parameters: Mapping[str, str], control: Control) -> Attested:
    from confide.broker.client import KbsClient
    from confide.broker.introduction import pinned_authority
    from confide.broker.mesh_member import join_mesh

    evidence_for, stated = attester(boot.tee, boot.evidence), stated_image(image)
    sessions: dict[str, Session] = {}
    authorities: dict[str, bytes] = {}
    for broker, url in broker_urls(parameters).items():
        authorities[broker] = pinned_authority(url, image.brokers[broker].encode(), int(time.time()))
        client = KbsClient(url, authorities[broker])
        sessions[broker] = client.attest(boot.tee, evidence_for, parameters, stated)
        control.say("attested", broker=broker)
    first = min(sessions)  # a job is one broker's: the first by name
    joined = None
    if JOB in image.launch:  # before any key: whoever has no place in the job gets none
        joined = join_mesh(sessions[first], authorities[first], image.role, parameters[JOB])
        if DRIVER in image.launch:
            joined.require_driver(parameters[DRIVER])
        control.say("joined", job=joined.member.job)
    releases = {broker: session.release() for broker, session in sessions.items()}
    release = merge_releases(releases, image.owners)
    kept = release.logs is not None
    control.say("released", workload=release.workload, owners=" ".join(release.owners), logs=kept)

    @functools.cache
    def mesh() -> MeshIdentity:
        return joined or join_mesh(sessions[first], authorities[first], image.role, releases[first])

    return Attested(sessions, releases, release, mesh)


def _run(
    profile: Profile, image: Image, parameters: Mapping[str, str], attested: Attested, control: Control
) -> int:
    secrets: dict[str, object] = {}
    socket_path = Path(RUN) / "agent.sock"

    def announce(driver: str, application: str) -> None:
        job = attested.mesh().member.job
        control.say("opened", job=job, driver=driver, application=application)

    job = JobCalls(attested.refresh, announce)
    with (
        _serving(AgentSocket(socket_path, attested.release, WORK, SCRATCH, secrets, attested.commit, job)),
        workload_output(attested.release, Path(WORK), _member(image, parameters)) as output,
        failure_told(output),
    ):
        control.listen(lambda line: write_line(output, f"the host says: {line}"))
        code = profile.run(
            Context(
                image=image,
                launch=parameters,
                arguments=split_arguments(parameters.get(ARGS, "")),
                release=attested.release,
                work=Path(WORK),
                scratch=Path(SCRATCH),
                socket=socket_path,
                output=output,
                secrets=secrets,
                commit=attested.commit,
                started=lambda: control.say("started"),
                mesh=attested.mesh,
            )
        )
    return code if code >= 0 else 128 - code


def _member(image: Image, parameters: Mapping[str, str]) -> str:
    """What the log of a member of a job is called by; empty for others."""
    return f"{image.role}-{parameters[MEMBER]}" if MEMBER in parameters else ""


@contextlib.contextmanager
def _serving(served: AgentSocket) -> Iterator[None]:
    try:
        yield
    finally:
        served.close()


def _fall_silent() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
