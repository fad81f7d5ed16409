"""Evidence for an image: the launcher, which verified it, has evidence made; the agent inside says what it must bind.

The two talk over a socket pair, a line of JSON each way: runtime data of the KBS protocol, then evidence for it. The
launcher takes runtime data only where it states the very image that it verified and started, so that nothing inside
can have evidence made for another. In an enclave of SGX nobody stands between: there the agent asks the hardware.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confide.attestation.claims import Tee
from confide.attestation.evidence import MAX_ATTESTATION_BYTES, RuntimeData, StatedImage
from confide.canonical import canonical_json
from confide.enclave.control import Control
from confide.enclave.image import Image, measurement
from confide.enclave.issuer import Issuer, open_issuer
from confide.enclave.verify import VerifiedImage
from confide.errors import AttestationRefused, ConfideError

MAX_LINE_BYTES = MAX_ATTESTATION_BYTES

Attester = Callable[[RuntimeData], Mapping[str, Any]]
"""Has evidence made that binds runtime data: the KBS protocol's `primary_evidence`. Raises AttestationRefused."""


@dataclass(frozen=True)
class OwnEvidence:
    """Has evidence made of the enclave that this runs in.

    Attributes:
        tee: kind of TEE.
        image: what the agent states that it runs.
        attester: has it made.
    """

    tee: str
    image: StatedImage
    attester: Attester


def attester(tee: str, channel: int | Control) -> Attester:
    """Return who has evidence made for this enclave.

    Args:
        tee: kind of TEE; never defaulted.
        channel: descriptor to the launcher, which no child process will inherit in turn; or the line to the runner,
            which is the launcher of an enclave that inherits no descriptor.

    Raises:
        Misuse: no TEE of that name.
        MissingDependency: the TEE is not here.
    """
    if tee == Tee.SGX:
        issuer = open_issuer(tee)
        return lambda runtime_data: issuer.issue(runtime_data.report_data())
    if isinstance(channel, Control):
        return _ask_runner(channel)
    return _ask_launcher(socket.socket(fileno=channel))


def stated_image(image: Image) -> StatedImage:
    """Return what runtime data states of an image."""
    owners = {"owners": image.owners} if image.owners else {}
    return StatedImage(measurement=measurement(image), role=image.role, svn=image.svn, **owners)


def serve_evidence(channel: socket.socket, issuer: Issuer, verified: VerifiedImage) -> None:
    """Answer the agent of a verified image until it closes its end, in a thread."""
    image = stated_image(verified.image)

    def serve() -> None:
        with channel, channel.makefile("rwb") as stream:
            while (line := stream.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                stream.write(evidence_line(line, issuer, image))
                stream.flush()

    threading.Thread(target=serve, name="evidence", daemon=True).start()


def evidence_line(line: bytes, issuer: Issuer, image: StatedImage) -> bytes:
    """Return the line that answers a line of runtime data: evidence, or why there is none."""
    return json.dumps(_answer(line, issuer, image)).encode() + b"\n"


def _answer(line: bytes, issuer: Issuer, image: StatedImage) -> dict[str, Any]:
    try:
        runtime_data = RuntimeData.parse(line)
        if runtime_data.image == image:
            return {"evidence": dict(issuer.issue(runtime_data.report_data()))}
    except ConfideError as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    return {"refused": "the agent states another image than was started"}


def _ask_launcher(channel: socket.socket) -> Attester:
    stream = channel.makefile("rwb")
    lock = threading.Lock()

    def ask(runtime_data: RuntimeData) -> Mapping[str, Any]:
        try:
            with lock:
                stream.write(canonical_json(runtime_data.wire()) + b"\n")
                stream.flush()
                answer = json.loads(stream.readline(MAX_LINE_BYTES))
        except (OSError, ValueError):
            raise AttestationRefused("the launcher issues no evidence") from None
        return _evidence(answer)

    return ask


def _ask_runner(control: Control) -> Attester:
    def ask(runtime_data: RuntimeData) -> Mapping[str, Any]:
        line = control.ask("attesting", MAX_LINE_BYTES, runtime_data=runtime_data.wire())
        try:
            answer = json.loads(line)
        except ValueError:
            raise AttestationRefused("the launcher issues no evidence") from None
        return _evidence(answer)

    return ask


def _evidence(answer: object) -> Mapping[str, Any]:
    if isinstance(answer, dict) and isinstance(answer.get("evidence"), dict):
        evidence: Mapping[str, Any] = answer["evidence"]
        return evidence
    refused = answer.get("refused") if isinstance(answer, dict) else None
    raise AttestationRefused(str(refused or "the launcher issues no evidence"))
