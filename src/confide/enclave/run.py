"""Run an image on this machine: the host's side of an enclave's life, from verification to exit code."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confide import errors
from confide.attestation.claims import Tee
from confide.enclave.attester import stated_image
from confide.enclave.guest.qemu import GuestMachine, check_machine, guest
from confide.enclave.guest.request import GuestRequest
from confide.enclave.issuer import ISSUERS, Issuer, open_issuer
from confide.enclave.issuers.find import detect
from confide.enclave.launch import ARGS, BROKER_PREFIX, check_launch, join_arguments
from confide.enclave.launcher import Launched, launch
from confide.enclave.scratch import disk_scratch
from confide.enclave.simulated.host import host_key
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.enclave.verify import VerifiedImage, verify_image
from confide.errors import ConfideError, MissingDependency, Misuse, Unavailable

STOP_SECONDS = 10.0
MAX_STATUS_BYTES = 64 * 1024
MAX_NOTICE_BYTES = 4000
_MIB = 1024 * 1024

OnStatus = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class RunRequest:
    """What to run, and how.

    Attributes:
        image: folder of the image.
        tee: kind of TEE; never defaulted.
        home: folder that holds the simulated host's key.
        brokers: broker name (pinned in the image) -> https URL.
        data_root: folder that appears as `/work` inside.
        arguments: of the program.
        launch: further launch parameters.
        scratch_mib: size of the scratch space; None: the image's limit. Not of a virtual machine.
        scratch_disk: folder for scratch space on disk, encrypted; None: in memory. Not of a virtual machine.
        machine: a virtual machine to start, in which the image runs; None: it runs on this machine.
    """

    image: Path
    tee: str
    home: Path
    brokers: Mapping[str, str]
    data_root: Path
    arguments: Sequence[str] = ()
    launch: Mapping[str, str] = field(default_factory=dict)
    scratch_mib: int | None = None
    scratch_disk: Path | None = None
    machine: GuestMachine | None = None

    def parameters(self) -> dict[str, str]:
        """Return all launch parameters."""
        return {
            **self.launch,
            **{BROKER_PREFIX + name: url for name, url in self.brokers.items()},
            **({ARGS: join_arguments(self.arguments)} if self.arguments else {}),
        }


def check_tee(tee: str, machine: GuestMachine | None = None) -> None:
    """Return if images run under this TEE here, or in such a machine.

    Raises:
        Misuse, MissingDependency: the TEE is unknown, or not here.
    """
    if machine is not None:
        if tee != Tee.TPM:
            raise Misuse(f"a guest started here gives evidence of {Tee.TPM}, not of {tee}")
        check_machine(machine)
        return
    if tee == Tee.SIMULATED:
        return
    if tee == Tee.TPM:
        open_issuer(tee)
        return
    if tee not in ISSUERS:
        raise Misuse(f"no TEE called {tee!r} (there are: {', '.join(Tee)})")
    if tee == Tee.SGX:
        raise MissingDependency(
            "images for enclaves of SGX cannot be built yet; confidential VMs and simulated can"
        )
    if tee not in [found.tee for found in detect()]:
        raise MissingDependency(
            f"this machine is no guest of the TEE {tee}, or its kernel gives no evidence of it"
        )


class Enclave:
    """A started image, and the line to its agent.

    Args:
        name: of the image.
        launched: what the launcher started.
    """

    def __init__(self, name: str, launched: Launched) -> None:
        self._name, self._launched = name, launched

    def wait(self, on_status: OnStatus = lambda _: None) -> int:
        """Attend the enclave to its end, and return the workload's exit code.

        Raises:
            ConfideError: whatever the agent was refused, with its message.
            Unavailable: the enclave ended without a word.
        """
        launched, finished = self._launched, None
        try:
            for status in _statuses(launched.control):
                if status.get("state") == "failed":
                    raise _error(status)
                if status.get("state") == "finished":
                    finished = int(status["exit_code"])
                on_status(status)
            launched.process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                launched.process.wait(STOP_SECONDS)
            raise
        finally:
            launched.process.kill()  # die-with-parent and the PID namespace take everything along
            launched.process.wait()
            launched.control.close()
        if finished is None:
            said = bytes(launched.stderr).decode(errors="replace").strip()
            code = launched.process.returncode
            raise Unavailable(
                f"image {self._name}: ended with code {code} before it finished. {said}".strip()
            )
        return finished

    def say(self, line: str) -> None:
        """Tell the workload's owner something, in its sealed log; that an enclave is gone is no news here."""
        with contextlib.suppress(OSError):
            self._launched.control.sendall(line.replace("\n", " ").encode()[:MAX_NOTICE_BYTES] + b"\n")

    def stop(self) -> None:
        """Ask the agent to end the workload."""
        with contextlib.suppress(OSError):
            self._launched.control.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it now."""
        self._launched.process.kill()


@contextlib.contextmanager
def start(request: RunRequest, on_status: OnStatus = lambda _: None) -> Iterator[Enclave]:
    """Verify the image, start it, and yield it to be waited for; what is left of it at the end is killed.

    Raises:
        LaunchRefused: parameters outside the image's grammar.
        Tampered, InvalidImage: the image is not what its document says.
        Misuse, MissingDependency: the TEE is unknown, not supported, or lacks a program.
    """
    check_tee(request.tee, request.machine)
    if not request.data_root.is_dir():
        raise Misuse(f"the data root {request.data_root} is not a folder")
    verified = verify_image(request.image)
    parameters = check_launch(verified.image, request.parameters())
    on_status({"state": "verified", "measurement": verified.measurement})
    with _launched(request, verified, parameters) as launched:
        enclave = Enclave(verified.image.name, launched)
        try:
            yield enclave
        finally:
            enclave.kill()


def run(request: RunRequest, on_status: OnStatus = lambda _: None) -> int:
    """Verify the image, run it to its end, and return the workload's exit code.

    An interrupt (KeyboardInterrupt) asks the agent to stop, then ends the enclave and everything in it.

    Args:
        request: what to run.
        on_status: is told each state: `verified` (with `measurement`), `attested`, `joined` (with `job`: of a member of
            one), `released` (with `logs`: whether output is kept), `started`, `opened` (with `job`, `driver`,
            `application`: of a job that members may join), `finished` (with `exit_code`).

    Raises:
        as `start` and `Enclave.wait`.
    """
    with start(request, on_status) as enclave:
        return enclave.wait(on_status)


@contextlib.contextmanager
def _launched(
    request: RunRequest, verified: VerifiedImage, parameters: Mapping[str, str]
) -> Iterator[Launched]:
    if request.machine is not None:
        asked = GuestRequest(tee=request.tee, launch=dict(parameters))
        with guest(request.machine, request.home, verified, asked, request.data_root) as launched:
            yield launched
        return
    with _scratch(request) as folder:
        size = (request.scratch_mib or verified.image.limits.scratch_mib) * _MIB
        issuer = _issuer(request, verified)
        yield launch(verified, parameters, request.tee, issuer, request.data_root, size, folder)


def _issuer(request: RunRequest, verified: VerifiedImage) -> Issuer:
    if request.tee == Tee.SIMULATED:
        return SimulatedIssuer(host_key(request.home), stated_image(verified.image))
    return open_issuer(request.tee)


def _scratch(request: RunRequest) -> contextlib.AbstractContextManager[Path | None]:
    return contextlib.nullcontext() if request.scratch_disk is None else disk_scratch(request.scratch_disk)


def _statuses(control: socket.socket) -> Iterator[dict[str, Any]]:
    with control.makefile("rb") as stream:
        while line := stream.readline(MAX_STATUS_BYTES):
            try:
                status = json.loads(line)
            except ValueError:
                return  # cut off: the exit code tells
            if isinstance(status, dict):
                yield status


def _error(status: Mapping[str, Any]) -> ConfideError:
    message = str(status.get("message", "failed"))
    return errors.told(status.get("error"), message) or ConfideError(message)
