"""Simulated evidence: a statement signed by an enrolled host. It protects nothing and says so by its name.

The signing side is `confide.enclave.simulated`; this file holds the statement and its verification.
"""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from pydantic import Field

from confide.attestation.evidence import WireModel

STATEMENT_TYP = "confide-simulated+json"
MAX_STATEMENT_BYTES = 4 * 1024


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
