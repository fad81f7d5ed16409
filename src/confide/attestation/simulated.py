"""Simulated evidence: a statement signed by an enrolled host. It protects nothing and says so by its name.

The signing side is `confide.enclave.simulated`; this file holds the statement and its verification.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field

from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import RuntimeData, WireModel
from confide.canonical import sha256_hex
from confide.errors import AttestationRefused, InvalidFormat

STATEMENT_TYP = "confide-simulated+json"
MAX_STATEMENT_BYTES = 4 * 1024

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class SimulatedStatement(WireModel):
    """What a simulated host says about the image it launched; payload of a JWS (EdDSA) by the host's key.

    Attributes:
        tee: `simulated`, always.
        measurement: SHA-256 of the canonical image document, 64 hex digits.
        role: role of the image in its workload.
        svn: security version number of the image.
        debug: whether it can be inspected from outside.
        report_data: base64 of the 64 bytes of report data.
        host: SHA-256 of the host's raw Ed25519 public key, 64 hex digits.
    """

    tee: Literal["simulated"] = "simulated"
    measurement: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    svn: Annotated[int, Field(ge=0, le=65535)]
    debug: bool
    report_data: Annotated[str, Field(alias="report_data", max_length=88)]
    host: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(
        cls, *, measurement: str, role: str, svn: int, debug: bool, report_data: bytes, host: str
    ) -> SimulatedStatement:
        """Make a statement over the 64 bytes of `report_data`."""
        return cls(
            tee="simulated",
            measurement=measurement,
            role=role,
            svn=svn,
            debug=debug,
            report_data=base64.b64encode(report_data).decode(),
            host=host,
        )


def verify_simulated(
    evidence: Mapping[str, Any],
    runtime_data: RuntimeData,
    report_data: bytes,
    host_key: Callable[[str], bytes],
) -> Claims:
    """Verify simulated evidence.

    1. It is a flattened JWS: `protected`, `payload`, `signature`, base64url text within their sizes.
    2. The protected header is exactly `alg` EdDSA, `typ` of a statement, `kid` the host.
    3. The host is enrolled.
    4. The signature verifies under the host's key.
    5. The statement has exactly its fields, and names the host that signed it.
    6. Its report data is `report_data`.

    Args:
        evidence: `primary_evidence` of the KBS protocol; nothing in it is trusted.
        runtime_data: what the evidence must bind.
        report_data: the 64 bytes by which it does.
        host_key: host id -> raw Ed25519 public key; raises AttestationRefused for a host not enrolled.

    Raises:
        AttestationRefused: names the step that failed.
    """
    protected, payload, signature = _members(evidence)
    kid = _header_kid(_decode(protected))
    key = host_key(kid)
    if not hmac.compare_digest(sha256_hex(key), kid):
        raise AttestationRefused("simulated evidence, step 3: the enrolled key is not the host's")
    try:
        signed = f"{protected}.{payload}".encode("ascii")
        Ed25519PublicKey.from_public_bytes(key).verify(_decode(signature), signed)
    except (InvalidSignature, ValueError):
        raise AttestationRefused("simulated evidence, step 4: signature does not verify") from None
    try:
        statement = SimulatedStatement.parse(_decode(payload), MAX_STATEMENT_BYTES)
    except InvalidFormat as error:
        raise AttestationRefused(f"simulated evidence, step 5: {error}") from None
    if statement.host != kid:
        raise AttestationRefused("simulated evidence, step 5: names another host than the one that signed")
    expected = base64.b64encode(report_data).decode()
    if not hmac.compare_digest(statement.report_data.encode(), expected.encode()):
        raise AttestationRefused("simulated evidence, step 6: report data does not bind this attestation")
    return Claims(
        tee=Tee.SIMULATED,
        measurement=statement.measurement,
        role=statement.role,
        svn=statement.svn,
        debug=statement.debug,
        hardware_id=statement.host,
        tee_pubkey=runtime_data.tee_pubkey.wire(),
        launch=dict(runtime_data.launch),
        owners=runtime_data.image.owners if runtime_data.image else (),
    )


def _members(evidence: Mapping[str, Any]) -> tuple[str, str, str]:
    limits = {"protected": 512, "payload": MAX_STATEMENT_BYTES * 4 // 3 + 3, "signature": 86}
    if evidence.keys() != limits.keys():
        raise AttestationRefused("simulated evidence, step 1: not a flattened JWS")
    for name, limit in limits.items():
        value = evidence[name]
        if not isinstance(value, str) or len(value) > limit or not _BASE64URL.fullmatch(value):
            raise AttestationRefused(f"simulated evidence, step 1: {name} is not base64url within its size")
    return evidence["protected"], evidence["payload"], evidence["signature"]


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise AttestationRefused("simulated evidence, step 1: not base64url") from None


def _header_kid(raw: bytes) -> str:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        raise AttestationRefused("simulated evidence, step 2: header is not JSON") from None
    kid = header.get("kid") if isinstance(header, dict) else None
    if not isinstance(kid, str) or header != {"alg": "EdDSA", "kid": kid, "typ": STATEMENT_TYP}:
        raise AttestationRefused("simulated evidence, step 2: header is not that of a statement")
    return kid
