"""Messages of the KBS attestation protocol that carry evidence, as strict and bounded models.

Names on the wire are those of the protocol ("KBS Attestation Protocol", Payloads); where it leaves a choice,
the narrowest is taken: EC keys on P-256 only, no secondary evidence. Format: docs/formats/kbs.md.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from confide.attestation.report_data import documented_report_data, report_data
from confide.errors import InvalidFormat

PROTOCOL_VERSION = "0.4.0"
"""That of the implementations; the protocol's document has 0.1.1, and binds evidence in another way."""
NONCE_BYTES = 32
MAX_REQUEST_BYTES = 4 * 1024
MAX_ATTESTATION_BYTES = 512 * 1024
MAX_LAUNCH_PARAMETERS = 64
PUBKEY_ALGORITHM: Final = "ECDH-ES+A256KW"

Nonce = Annotated[str, Field(min_length=1, max_length=128)]
LaunchName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
LaunchValue = Annotated[str, Field(max_length=4096)]
Coordinate = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class WireModel(BaseModel):
    """Base of every message: immutable, no unknown fields, no coercion, the protocol's names on the wire."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=lambda name: name.replace("_", "-"),
        populate_by_name=True,
    )

    def wire(self) -> dict[str, Any]:
        """Return the message as JSON values; fields that were not given stay out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @classmethod
    def parse(cls, data: bytes, max_bytes: int = MAX_ATTESTATION_BYTES) -> Self:
        """Parse JSON bytes.

        Raises:
            InvalidFormat: more than `max_bytes`, not JSON, or not of this form.
        """
        if len(data) > max_bytes:
            raise InvalidFormat(f"{cls.__name__}: {len(data)} bytes, at most {max_bytes} are allowed")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InvalidFormat(f"{cls.__name__}: {describe(error)}") from None


def describe(error: ValidationError) -> str:
    """Return what is wrong and where, without any value of the document."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    places = ((".".join(map(str, fault["loc"])) or "document", fault["msg"]) for fault in faults[:5])
    return "; ".join(f"{place[:120]}: {reason[:200]}" for place, reason in places)


class ExtraParams(WireModel):
    """What a client offers.

    Attributes:
        supported_hash_algorithms: for report data, for instance `sha384`.
    """

    supported_hash_algorithms: Annotated[list[Annotated[str, Field(max_length=32)]], Field(max_length=16)]


class Request(WireModel):
    """First message of a workload: which protocol and which TEE it speaks.

    Attributes:
        version: of the protocol: 0.1.x or 0.4.x.
        tee: kind of TEE, for instance `simulated`.
        extra_params: hash algorithms that the client has; empty: SHA-384, which it must have.
    """

    version: Annotated[str, Field(pattern=r"^0\.[14]\.[0-9]{1,3}$")]
    tee: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    extra_params: ExtraParams | Annotated[dict[str, str], Field(max_length=0)] | Literal[""] = ""

    @property
    def has_sha384(self) -> bool:
        """Whether the client can make this broker's report data."""
        given = self.extra_params
        return not isinstance(given, ExtraParams) or "sha384" in map(
            str.lower, given.supported_hash_algorithms
        )


class Challenge(WireModel):
    """The broker's answer to a request.

    Attributes:
        nonce: base64 of 32 random bytes, good for one attestation.
        extra_params: empty.
    """

    nonce: Nonce
    extra_params: dict[str, str] | Literal[""] = ""


class TeePubkey(WireModel):
    """Public key (JWK, RFC 7517) of the workload: EC P-256, for `ECDH-ES+A256KW`."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    alg: Literal["ECDH-ES+A256KW"]
    x: Coordinate
    y: Coordinate


def coordinate(text: str) -> int:
    """Return the number that a JWK coordinate (base64url of 32 bytes, RFC 7518 section 6.2.1) stands for."""
    return int.from_bytes(base64.urlsafe_b64decode(text + "="), "big")


class StatedImage(WireModel):
    """What a measured agent says of the image that it verified and runs.

    Attributes:
        measurement: SHA-256 of the canonical image document, 64 hex digits.
        role: role of the image in its workload.
        svn: security version number of the image.
        owners: who takes part, as the image names them: these and no others; empty: one owner alone.
    """

    measurement: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    svn: Annotated[int, Field(ge=0, le=65535)]
    owners: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=64, strict=False)
    ] = ()


class RuntimeData(WireModel):
    """What evidence binds through its report data.

    Attributes:
        nonce: of the broker's challenge.
        tee_pubkey: the workload's key, made for its session with one broker.
        image: what the agent says that it runs; None where it says nothing (other clients of the protocol).
        launch: launch parameters outside the measurement, name -> value.
    """

    nonce: Nonce
    tee_pubkey: TeePubkey
    image: StatedImage | None = None
    launch: Annotated[dict[LaunchName, LaunchValue], Field(max_length=MAX_LAUNCH_PARAMETERS)] = Field(
        default_factory=dict
    )

    def report_data(self, additional_evidence: str = "") -> bytes:
        """Return the 64 bytes that evidence must carry to bind exactly this, and what other devices say."""
        return report_data(self.wire(), additional_evidence)


class TeeEvidence(WireModel):
    """Evidence of one TEE.

    Attributes:
        primary_evidence: its form depends on the TEE (`simulated`: a flattened JWS).
        additional_evidence: of secondary devices; none is understood, so only an empty one is taken.
    """

    primary_evidence: dict[str, Any] = Field(alias="primary_evidence")
    additional_evidence: Literal["", "{}"] = Field(default="", alias="additional_evidence")


class Attestation(WireModel):
    """Second message of a workload: evidence, and what it binds."""

    runtime_data: RuntimeData
    tee_evidence: TeeEvidence

    def report_data(self, version: str) -> bytes:
        """Return the 64 bytes that the evidence must carry, in this version of the protocol (`Request.version`)."""
        if version.startswith("0.1."):
            return documented_report_data(self.runtime_data.wire())
        return self.runtime_data.report_data(self.tee_evidence.additional_evidence)
