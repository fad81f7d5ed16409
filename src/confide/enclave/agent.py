"""The agent: the first process in the enclave, and the only one that runs before there are keys.

    boot document -> launch grammar -> evidence -> brokers -> release -> agent socket -> workload -> exit code

Until it asks for keys, what it says on stderr is the host's to read; from then on the host gets states and
an exit code over the control socket, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pydantic import Field, ValidationError

from confide.broker.release import Access, Release
from confide.data.listing import ListedFile, Listing
from confide.document import StrictModel
from confide.enclave.agent_socket import AgentSocket
from confide.enclave.attester import attester, stated_image
from confide.enclave.control import Control
from confide.enclave.image import RUN, SCRATCH, WORK, Image
from confide.enclave.launch import ARGS, broker_urls, check_launch, split_arguments
from confide.enclave.log import failure_told, workload_output
from confide.enclave.merge import merge_releases
from confide.enclave.profile import Context, Profile
from confide.errors import ConfideError, LaunchRefused, NoGrant
from confide.keys.private_memory import keep_memory_private

if TYPE_CHECKING:
    from confide.broker.client import Session

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
    """

    sessions: Mapping[str, Session]
    releases: Mapping[str, Release]
    release: Release

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

    evidence_for, stated = attester(boot.tee, boot.evidence), stated_image(image)
    sessions: dict[str, Session] = {}
    for broker, url in broker_urls(parameters).items():
        authority = pinned_authority(url, image.brokers[broker].encode(), int(time.time()))
        client = KbsClient(url, authority)
        sessions[broker] = client.attest(boot.tee, evidence_for, parameters, stated)
        control.say("attested", broker=broker)
    releases = {broker: session.release() for broker, session in sessions.items()}
    release = merge_releases(releases, image.owners)
    kept = release.logs is not None
    control.say("released", workload=release.workload, owners=" ".join(release.owners), logs=kept)
    return Attested(sessions, releases, release)


def _run(
    profile: Profile, image: Image, parameters: Mapping[str, str], attested: Attested, control: Control
) -> int:
    control.stop_on_request()
    secrets: dict[str, object] = {}
    socket_path = Path(RUN) / "agent.sock"
    with (
        _serving(AgentSocket(socket_path, attested.release, WORK, SCRATCH, secrets, attested.commit)),
        workload_output(attested.release, Path(WORK)) as output,
        failure_told(output),
    ):
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
            )
        )
    return code if code >= 0 else 128 - code


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
