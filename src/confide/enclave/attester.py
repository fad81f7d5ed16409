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
from typing import Any

from confide.attestation.claims import Tee
from confide.attestation.evidence import MAX_ATTESTATION_BYTES, RuntimeData, StatedImage
from confide.canonical import canonical_json
from confide.enclave.image import Image, measurement
from confide.enclave.issuer import Issuer, open_issuer
from confide.enclave.verify import VerifiedImage
from confide.errors import AttestationRefused, ConfideError

MAX_LINE_BYTES = MAX_ATTESTATION_BYTES

Attester = Callable[[RuntimeData], Mapping[str, Any]]
"""Has evidence made that binds runtime data: the KBS protocol's `primary_evidence`. Raises AttestationRefused."""


def attester(tee: str, channel: int) -> Attester:
    """Return who has evidence made for this enclave.

    Args:
        tee: kind of TEE; never defaulted.
        channel: descriptor to the launcher, which no child process will inherit in turn.

    Raises:
        Misuse: no TEE of that name.
        MissingDependency: the TEE is not here.
    """
    if tee != Tee.SGX:
        return _ask_launcher(socket.socket(fileno=channel))
    issuer = open_issuer(tee)
    return lambda runtime_data: issuer.issue(runtime_data.report_data())


def stated_image(image: Image) -> StatedImage:
    """Return what runtime data states of an image."""
    return StatedImage(measurement=measurement(image), role=image.role, svn=image.svn)


def serve_evidence(channel: socket.socket, issuer: Issuer, verified: VerifiedImage) -> None:
    """Answer the agent of a verified image until it closes its end, in a thread."""
    image = stated_image(verified.image)

    def serve() -> None:
        with channel, channel.makefile("rwb") as stream:
            while (line := stream.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                stream.write(json.dumps(_answer(line, issuer, image)).encode() + b"\n")
                stream.flush()

    threading.Thread(target=serve, name="evidence", daemon=True).start()


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
        if "evidence" not in answer:
            raise AttestationRefused(str(answer.get("refused", "the launcher issues no evidence")))
        evidence: Mapping[str, Any] = answer["evidence"]
        return evidence

    return ask
