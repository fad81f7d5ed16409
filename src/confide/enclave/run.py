"""Run an image on this machine: the host's side of an enclave's life, from verification to exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from confide import errors
from confide.attestation.claims import Tee
from confide.enclave.attester import MAX_LINE_BYTES, evidence_line, stated_image
from confide.enclave.guest.qemu import GuestMachine, check_machine, guest
from confide.enclave.guest.request import GuestRequest
from confide.enclave.issuer import ISSUERS, Issuer, open_issuer
from confide.enclave.issuers.find import detect
from confide.enclave.launch import ARGS, BROKER_PREFIX, check_launch, join_arguments
from confide.enclave.launcher import MAX_STDERR_BYTES, Launched, launch
from confide.enclave.scratch import disk_scratch
from confide.enclave.verify import VerifiedImage, verify_image
from confide.errors import ConfideError, MissingDependency, Misuse, Unavailable

SGX_DEVICES = (Path("/dev/sgx_enclave"), Path("/dev/sgx/enclave"))
STOP_SECONDS = 10.0
LAST_WORDS_S = 1.0
MAX_STATUS_BYTES = MAX_LINE_BYTES
MAX_NOTICE_BYTES = 4000
_MIB = 1024 * 1024

OnStatus = Callable[[Mapping[str, Any]], None]


class LibosEnclave(Protocol):
    """What makes an image an enclave of a library OS on this machine."""

    libos: ClassVar[str]

    def start(
        self,
        verified: VerifiedImage,
        tee: str,
        parameters: Mapping[str, str],
        data_root: Path,
        scratch: Path | None = None,
    ) -> contextlib.AbstractContextManager[Launched]:
        """Start the enclave of a verified image, and remove afterwards what it wrote."""
        ...


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
        enclave: of a library OS, made for this image; None: the image runs confined by bubblewrap.
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
    enclave: LibosEnclave | None = None

    def parameters(self) -> dict[str, str]:
        """Return all launch parameters."""
        return {
            **self.launch,
            **{BROKER_PREFIX + name: url for name, url in self.brokers.items()},
            **({ARGS: join_arguments(self.arguments)} if self.arguments else {}),
        }


def check_tee(tee: str, machine: GuestMachine | None = None, libos: str | None = None) -> None:
    """Return if images run under this TEE here, or in such a machine.

    Args:
        tee: kind of TEE.
        machine: a virtual machine to start.
        libos: library OS that is asked for.

    Raises:
        Misuse, MissingDependency: the TEE is unknown, or not here; or a library OS does not go with it.
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
        if not any(path.exists() for path in SGX_DEVICES):
            raise MissingDependency(
                "this machine has no SGX, or its kernel does not show it (/dev/sgx_enclave)"
            )
        if libos is None:
            raise Misuse("an enclave of SGX needs a library OS: --libos gramine")
        return
    if libos is not None:
        raise Misuse(
            f"--libos {libos} goes with --tee sgx, or simulated; in the TEE {tee} programs need none"
        )
    if tee not in [found.tee for found in detect()]:
        raise MissingDependency(
            f"this machine is no guest of the TEE {tee}, or its kernel gives no evidence of it"
        )


class Enclave:
    """A started image, and the line to its agent.

    Args:
        verified: the image.
        launched: what the launcher started.
        issuer: gives evidence where the agent asks for it over its line, as in an enclave that inherits no other.
    """

    def __init__(self, verified: VerifiedImage, launched: Launched, issuer: Issuer | None = None) -> None:
        self._verified, self._launched, self._issuer = verified, launched, issuer

    def wait(self, on_status: OnStatus = lambda _: None) -> int:
        """Attend the enclave to its end, and return the workload's exit code.

        Raises:
            ConfideError: whatever the agent was refused, with its message.
            Unavailable: the enclave ended without a word.
        """
        launched, finished = self._launched, None
        try:
            for status in _statuses(launched):
                if status.get("state") == "failed":
                    raise _error(status)
                if status.get("state") == "attesting":
                    self._give_evidence(status)
                    continue
                if status.get("state") == "finished":
                    finished = int(status["exit_code"])
                on_status(status)
                if finished is not None:
                    break  # children of the agent may still hold the other end
            os.waitid(os.P_PID, launched.process.pid, os.WEXITED | os.WNOWAIT)
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                launched.process.wait(STOP_SECONDS)
            raise
        finally:
            self.kill()
            launched.process.wait()
            launched.control.close()
        if finished is None:
            launched.stderr.ended.wait(LAST_WORDS_S)
            said = bytes(launched.stderr).decode(errors="replace").strip()
            code = launched.process.returncode
            raise Unavailable(
                f"image {self._verified.image.name}: ended with code {code} before it finished. {said}".strip()
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
        """End it now, and all that it started: its children are of its session, and bubblewrap takes its own along."""
        process = self._launched.process
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None and os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()

    def _give_evidence(self, status: Mapping[str, Any]) -> None:
        if self._issuer is None:
            raise Unavailable("the enclave asks its host for evidence, which only its hardware can give")
        asked = json.dumps(status.get("runtime_data")).encode()
        with contextlib.suppress(OSError):  # it ended meanwhile
            self._launched.control.sendall(
                evidence_line(asked, self._issuer, stated_image(self._verified.image))
            )


@contextlib.contextmanager
def start(request: RunRequest, on_status: OnStatus = lambda _: None) -> Iterator[Enclave]:
    """Verify the image, start it, and yield it to be waited for; what is left of it at the end is killed.

    Raises:
        LaunchRefused: parameters outside the image's grammar.
        Tampered, InvalidImage: the image is not what its document says.
        Misuse, MissingDependency: the TEE is unknown, not supported, or lacks a program.
    """
    check_tee(request.tee, request.machine, None if request.enclave is None else request.enclave.libos)
    if not request.data_root.is_dir():
        raise Misuse(f"the data root {request.data_root} is not a folder")
    verified = verify_image(request.image)
    parameters = check_launch(verified.image, request.parameters())
    on_status({"state": "verified", "measurement": verified.measurement})
    with _launched(request, verified, parameters) as (launched, issuer):
        enclave = Enclave(verified, launched, issuer)
        try:
            yield enclave
        finally:
            enclave.kill()


@contextlib.contextmanager
def _launched(
    request: RunRequest, verified: VerifiedImage, parameters: Mapping[str, str]
) -> Iterator[tuple[Launched, Issuer | None]]:
    """Start the image, and yield what was started and who answers for it when its agent asks for evidence."""
    if request.enclave is not None:
        # Hardware is asked by the agent itself: nobody stands between.
        issuer = _issuer(request, verified) if request.tee == Tee.SIMULATED else None
        place = request.scratch_disk
        with request.enclave.start(verified, request.tee, parameters, request.data_root, place) as launched:
            yield launched, issuer
        return
    if request.machine is not None:
        asked = GuestRequest(tee=request.tee, launch=dict(parameters))
        with guest(request.machine, request.home, verified, asked, request.data_root) as launched:
            yield launched, None
        return
    with _scratch(request) as folder:
        size = (request.scratch_mib or verified.image.limits.scratch_mib) * _MIB
        serving = _issuer(request, verified)
        yield (
            launch(verified, parameters, request.tee, serving, request.data_root, size, folder),
            None,
        )


def run(request: RunRequest, on_status: OnStatus = lambda _: None) -> int:
    """Verify the image, run it to its end, and return the workload's exit code.

    An interrupt (KeyboardInterrupt) asks the agent to stop, then ends the enclave and everything in it.

    Args:
        request: what to run.
        on_status: is told each state: `verified` (with `measurement`), `attested`, `joined` (with `job`: of a member of
            one), `released` (with `logs`: whether output is kept), `started`, `opened` (with `job`, `driver`,
            `application`: of a job that members may join), `progress` (with `done`,
            `total`), `finished` (with `exit_code`).

    Raises:
        as `start` and `Enclave.wait`.
    """
    with start(request, on_status) as enclave:
        return enclave.wait(on_status)


def _issuer(request: RunRequest, verified: VerifiedImage) -> Issuer:
    if request.tee == Tee.SIMULATED:
        from confide.enclave.simulated.host import host_key
        from confide.enclave.simulated.issuer import SimulatedIssuer

        return SimulatedIssuer(host_key(request.home), stated_image(verified.image))
    return open_issuer(request.tee)


def _scratch(request: RunRequest) -> contextlib.AbstractContextManager[Path | None]:
    return contextlib.nullcontext() if request.scratch_disk is None else disk_scratch(request.scratch_disk)


def _statuses(launched: Launched) -> Iterator[dict[str, Any]]:
    # Reset, not closed: it ended before it read what it was told.
    with contextlib.suppress(ConnectionResetError), launched.control.makefile("rb") as stream:
        while line := stream.readline(MAX_STATUS_BYTES):
            try:
                status = json.loads(line)
            except ValueError:
                # Cut off, or what the agent says on stderr, which Gramine sends to its standard output.
                launched.stderr.extend(line[: max(0, MAX_STDERR_BYTES - len(launched.stderr))])
                continue
            if isinstance(status, dict):
                yield status


def _error(status: Mapping[str, Any]) -> ConfideError:
    message = str(status.get("message", "failed"))
    return errors.told(status.get("error"), message) or ConfideError(message)
