"""Collateral: what Intel publishes about a kind of platform, and what quotes of it are verified with.

The nine members are those of dcap-qvl's `QuoteCollateralV3`, whose JSON is the form of exchange: TCB info and QE
identity are the signed documents as Intel's service sends them, byte for byte; CRLs are DER; chains are PEM. Source of
their content: Intel SGX and TDX Provisioning Certification Service, API version 4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from cryptography import x509
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from confide.attestation.claims import Tee
from confide.attestation.evidence import describe
from confide.attestation.intel import qvl
from confide.certificates import common_name, load_crl
from confide.document import StrictModel
from confide.errors import InvalidFormat

MAX_COLLATERAL_BYTES = 1024 * 1024

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")
_TEES = {"SGX": Tee.SGX, "TDX": Tee.TDX}
_QE_IDS = {Tee.SGX: "QE", Tee.TDX: "TD_QE"}
_CAS = {"Intel SGX PCK Platform CA": "platform", "Intel SGX PCK Processor CA": "processor"}


def _from_hex(value: object) -> object:
    """Decode hex; what is bytes already, which JSON has not, is taken as it is."""
    if not isinstance(value, str):
        return value
    if not _HEX.fullmatch(value):
        raise ValueError("not hex")
    return bytes.fromhex(value)


def _unix(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError("not a date")  # noqa: TRY004 - pydantic collects ValueError
    return int(datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


HexBytes = Annotated[bytes, BeforeValidator(_from_hex), PlainSerializer(bytes.hex)]
Date = Annotated[int, BeforeValidator(_unix)]


class _Signed(BaseModel):
    """What is read of a signed document; all the rest is dcap-qvl's to read."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    issued: Annotated[Date, Field(alias="issueDate")]
    expires: Annotated[Date, Field(alias="nextUpdate")]
    evaluation: Annotated[int, Field(alias="tcbEvaluationDataNumber", ge=0)]


class _TcbInfo(_Signed):
    id: Literal["SGX", "TDX"]
    version: Literal[3]
    fmspc: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{12}$")]
    pce_id: Annotated[str, Field(alias="pceId", pattern=r"^[0-9a-fA-F]{4}$")]


class _QeIdentity(_Signed):
    id: Literal["QE", "TD_QE"]


@dataclass(frozen=True)
class Part:
    """A part of collateral that expires.

    Attributes:
        name: for people.
        issued: Unix seconds.
        expires: Unix seconds at which a newer one is due.
    """

    name: str
    issued: int
    expires: int


class Collateral(StrictModel):
    """Collateral for one kind of platform (FMSPC, certificate authority) and one TEE. Nothing in it is verified yet.

    Attributes:
        pck_crl_issuer_chain: of the authority that issues the platforms' certificates; PEM.
        root_ca_crl: DER; hex in JSON.
        pck_crl: of the platforms' certificates; DER; hex in JSON.
        tcb_info_issuer_chain: PEM.
        tcb_info: JSON, as signed.
        tcb_info_signature: r and s; hex in JSON.
        qe_identity_issuer_chain: PEM.
        qe_identity: JSON, as signed.
        qe_identity_signature: r and s; hex in JSON.
    """

    pck_crl_issuer_chain: str
    root_ca_crl: HexBytes
    pck_crl: HexBytes
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: HexBytes
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: HexBytes

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse JSON. A tenth member, `pck_certificate_chain`, is dropped: what counts is the chain inside a quote.

        Raises:
            InvalidFormat: more than 1 MiB, not of this form, or a part of it does not read.
        """
        if len(data) > MAX_COLLATERAL_BYTES:
            raise InvalidFormat(f"collateral: {len(data)} bytes, at most {MAX_COLLATERAL_BYTES} are allowed")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InvalidFormat(f"collateral: {describe(error)}") from None

    def to_json(self) -> bytes:
        """Return the JSON that `from_json` and dcap-qvl read."""
        return self.model_dump_json(indent=1).encode()

    @property
    def tee(self) -> Tee:
        """Whose quotes it is for."""
        return _TEES[self._tcb_info.id]

    @property
    def fmspc(self) -> str:
        """Kind of platform that it is for: 12 upper-case hex digits."""
        return self._tcb_info.fmspc.upper()

    @property
    def pce_id(self) -> bytes:
        """Kind of provisioning certification enclave that it is for: 2 bytes."""
        return bytes.fromhex(self._tcb_info.pce_id)

    @cached_property
    def ca(self) -> str:
        """Authority of the platforms' certificates that its CRL covers: `platform` or `processor`."""
        found = _CAS.get(common_name(_crl(self.pck_crl).issuer))
        if found is None:
            raise ValueError("the PCK CRL is not one of Intel's platform or processor CA")
        return found

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What in it expires."""
        return (
            Part("TCB info", self._tcb_info.issued, self._tcb_info.expires),
            Part("QE identity", self._qe_identity.issued, self._qe_identity.expires),
            _crl_part("root CA CRL", self.root_ca_crl),
            _crl_part("PCK CRL", self.pck_crl),
        )

    @property
    def issued(self) -> int:
        """Unix seconds from which on all of it is valid."""
        return max(part.issued for part in self.parts)

    @property
    def expires(self) -> int:
        """Unix seconds at which the first part of it expires."""
        return min(part.expires for part in self.parts)

    @property
    def evaluation(self) -> int:
        """The tcbEvaluationDataNumber, the lower one of TCB info and QE identity."""
        return min(self._tcb_info.evaluation, self._qe_identity.evaluation)

    @cached_property
    def qvl(self) -> Any:
        """The same for dcap-qvl."""
        return qvl.collateral_of(*(getattr(self, name) for name in type(self).model_fields))

    @cached_property
    def _tcb_info(self) -> _TcbInfo:
        return _TcbInfo.model_validate_json(self.tcb_info)

    @cached_property
    def _qe_identity(self) -> _QeIdentity:
        return _QeIdentity.model_validate_json(self.qe_identity)

    @model_validator(mode="before")
    @classmethod
    def _drop_chain(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: member for name, member in value.items() if name != "pck_certificate_chain"}
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Read every part now, so that no property fails later."""
        _ = self.ca, self.parts
        if self._qe_identity.id != _QE_IDS[self.tee]:
            raise ValueError(f"TCB info of {self._tcb_info.id} with the QE identity {self._qe_identity.id}")
        return self


def _crl(data: bytes) -> x509.CertificateRevocationList:
    try:
        return load_crl(data, MAX_COLLATERAL_BYTES)
    except InvalidFormat as error:
        raise ValueError(str(error)) from None  # pydantic collects ValueError


def _crl_part(name: str, data: bytes) -> Part:
    crl = _crl(data)
    if crl.next_update_utc is None:
        raise ValueError(f"the {name} does not say when a newer one is due")
    return Part(name, int(crl.last_update_utc.timestamp()), int(crl.next_update_utc.timestamp()))
