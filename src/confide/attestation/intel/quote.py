"""Intel SGX and TDX quotes: read, and not verified.

Versions 3 (SGX), 4 and 5 (SGX and TDX), with an attestation key on P-256 and the platform's certificate chain inside
(certification data of type 5). Layout: `confide.attestation.intel.layouts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confide.attestation.claims import Tee
from confide.attestation.intel.layouts import (
    BODY_DESCRIPTOR,
    BODY_TYPES,
    HEADER,
    QE_REPORT_SIGNATURE_BYTES,
    SGX_REPORT,
    SIGNATURE,
    BodyType,
)
from confide.attestation.intel.pck import Pck, read_pck
from confide.attestation.layout import Layout
from confide.errors import EvidenceRefused, InvalidFormat

MAX_QUOTE_BYTES = 64 * 1024

_TEES = {0x00: Tee.SGX, 0x81: Tee.TDX}
_NAMES = {Tee.SGX: "SGX quote", Tee.TDX: "TDX quote"}
_P256 = 2
_PCK_CHAIN, _QE_REPORT = 5, 6  # types of certification data
_SGX_DEBUG = 0x02


@dataclass(frozen=True)
class Quote:
    """A quote.

    Attributes:
        version: 3, 4 or 5.
        tee: SGX or TDX.
        body_type: `SGX`, `TDX 1.0`, `TDX 1.5` or `TDX 1.5ex`.
        header: field -> value.
        body: field -> value; what the policy's registers and numbers are taken from.
        signature: of header and body by the attestation key: r and s, 32 bytes each.
        attestation_key: x and y, 32 bytes each.
        qe_report: SGX report of the quoting enclave, which vouches for the attestation key: field -> value.
        qe_report_raw: that report as it was signed.
        qe_report_signature: by the platform's key: r and s.
        qe_auth_data: what the quoting enclave's report covers with the attestation key.
        certification_type: always 5, a chain of certificates.
        pck_chain: that chain, PEM: the platform's certificate first.
        pck: what the platform's certificate says.
        signed: what the attestation key signs: header and body, with the descriptor between them in version 5.
        raw: the whole quote.
    """

    version: int
    tee: Tee
    body_type: str
    header: Mapping[str, int | bytes]
    body: Mapping[str, int | bytes]
    signature: bytes
    attestation_key: bytes
    qe_report: Mapping[str, int | bytes]
    qe_report_raw: bytes = field(repr=False)
    qe_report_signature: bytes
    qe_auth_data: bytes
    certification_type: int
    pck_chain: str = field(repr=False)
    pck: Pck
    signed: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What refusals call it."""
        return _NAMES[self.tee]

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.raw)

    @property
    def fmspc(self) -> str:
        """12 upper-case hex digits; with `tee` and `ca` it says which collateral is needed."""
        return self.pck.fmspc

    @property
    def ca(self) -> str:
        """`platform` or `processor`."""
        return self.pck.ca

    def octets(self, name: str) -> bytes:
        """Return a field of the body that is bytes."""
        return _bytes(self.body[name])

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that whoever asked for the quote put into it."""
        return _bytes(self.body["report_data"])

    @property
    def debug(self) -> bool:
        """Whether it can be inspected from outside: SGX DEBUG; any bit of TUD, "TD under debug", of TDX."""
        if self.tee is Tee.SGX:
            return bool(_bytes(self.body["attributes"])[0] & _SGX_DEBUG)
        return bool(_bytes(self.body["td_attributes"])[0])


def parse_quote(data: bytes) -> Quote:
    """Read a quote.

    Raises:
        EvidenceRefused: step 1: too large, truncated, followed by more, or of a kind that is not known.
    """
    name = "quote"
    try:
        _bound(data)
        head = _read_head(data)
        name = _NAMES[head.type.tee]
        return _read_rest(data, head)
    except InvalidFormat as error:
        raise EvidenceRefused(name, 1, str(error)) from None


def trim_padding(data: bytes) -> bytes:
    """Return a quote without the zeros behind it.

    Quoting services and kernels hand TD quotes out in a buffer of fixed size, for instance 5006 or 8000 bytes. Bytes
    that are not zero stay, and whatever else is wrong: `parse_quote` refuses it.
    """
    trimmed = up_to_end(data)
    return data if any(data[len(trimmed) :]) else trimmed


def up_to_end(data: bytes) -> bytes:
    """Return what of a quote stands before its end by its own account; all of what has none."""
    try:
        _bound(data)
        return data[: _end(data, _read_head(data))]
    except InvalidFormat:
        return data


def _bound(data: bytes) -> None:
    if len(data) > MAX_QUOTE_BYTES:
        raise InvalidFormat(f"{len(data)} bytes, at most {MAX_QUOTE_BYTES} are allowed")


@dataclass(frozen=True)
class _Head:
    """What stands before the signature: header, type of body, where the body starts and ends."""

    header: Mapping[str, int | bytes]
    type: BodyType
    body_at: int

    @property
    def body_end(self) -> int:
        return self.body_at + self.type.layout.size


def _read_head(data: bytes) -> _Head:
    header = HEADER.read(data)
    version, tee_type, key_type = (
        _number(header[name]) for name in ("version", "tee_type", "attestation_key_type")
    )
    tee = _TEES.get(tee_type)
    if version not in (3, 4, 5):
        raise InvalidFormat(f"version {version}; 3, 4 and 5 are known")
    if tee is None or (version == 3 and tee is not Tee.SGX):
        raise InvalidFormat(f"TEE type {tee_type:#x} in version {version}")
    if key_type != _P256:
        raise InvalidFormat(f"attestation key of type {key_type}; only ECDSA on P-256 ({_P256}) is known")
    if version != 5:
        return _Head(header, BODY_TYPES[1 if tee is Tee.SGX else 2], HEADER.size)
    descriptor = BODY_DESCRIPTOR.read(data, HEADER.size)
    number, size = _number(descriptor["body_type"]), _number(descriptor["body_size"])
    body_type = BODY_TYPES.get(number)
    if body_type is None or body_type.tee is not tee:
        raise InvalidFormat(f"body of type {number} in a quote of {tee}")
    if size != body_type.layout.size:
        raise InvalidFormat(f"body of {size} bytes, {body_type.layout.size} are needed")
    return _Head(header, body_type, HEADER.size + BODY_DESCRIPTOR.size)


def _end(data: bytes, head: _Head) -> int:
    """Return where the quote ends by its own account."""
    return head.body_end + 4 + _Reader(data, head.body_end).number(4)


def _read_rest(data: bytes, head: _Head) -> Quote:
    body = head.type.layout.read(data, head.body_at)
    end = _end(data, head)
    if len(data) < end:
        raise InvalidFormat(f"truncated: {len(data)} bytes, {end} are needed")
    if len(data) > end:
        kind = "not all zero" if any(data[end:]) else "all zero"
        raise InvalidFormat(f"{len(data) - end} bytes behind its end, {kind}")
    reader = _Reader(data, head.body_end + 4)
    signature = reader.read(SIGNATURE)
    if head.header["version"] != 3:
        reader.certification(_QE_REPORT)
    qe_report = reader.take(SGX_REPORT.size)
    qe_report_signature = reader.take(QE_REPORT_SIGNATURE_BYTES)
    qe_auth_data = reader.take(reader.number(2))
    reader.certification(_PCK_CHAIN)
    chain = reader.take(reader.left())
    return Quote(
        version=_number(head.header["version"]),
        tee=head.type.tee,
        body_type=head.type.name,
        header=head.header,
        body=body,
        signature=_bytes(signature["signature"]),
        attestation_key=_bytes(signature["attestation_key"]),
        qe_report=SGX_REPORT.read(qe_report),
        qe_report_raw=qe_report,
        qe_report_signature=qe_report_signature,
        qe_auth_data=qe_auth_data,
        certification_type=_PCK_CHAIN,
        pck_chain=_pem(chain),
        pck=read_pck(data),
        signed=data[: head.body_end],
        raw=data,
    )


def _pem(chain: bytes) -> str:
    try:
        return chain.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise InvalidFormat("its certificate chain is not PEM") from None


def _number(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


class _Reader:
    """Takes a structure of little-endian numbers and of sized parts apart from its front."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise InvalidFormat("a part of it reaches beyond its end")
        self._at += size
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def read(self, layout: Layout) -> dict[str, int | bytes]:
        return layout.read(self.take(layout.size))

    def left(self) -> int:
        return len(self._data) - self._at

    def certification(self, expected: int) -> None:
        """Take type and size of certification data, which must be `expected` and reach to the end."""
        found, size = self.number(2), self.number(4)
        if found != expected:
            raise InvalidFormat(f"certification data of type {found}, only {expected} is known here")
        if size != self.left():
            raise InvalidFormat(f"certification data of {size} bytes, where {self.left()} are left")
