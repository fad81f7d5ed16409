"""Files of what evidence is verified with: Intel's collateral, whole or in the parts that its service sends, and AMD's
certificates and CRLs. Read, and not verified.

Whole collateral is JSON in dcap-qvl's form, or in that of Intel's quote verification library, whose TCB info and QE
identity stand with their signatures inside. Parts are the bodies of Intel's service (API version 4): TCB info, QE
identity, CRLs, and the certificates of its chains.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.given import GivenEndorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.intel.signed_json import signed_member
from confide.attestation.recognize.encodings import (
    MAX_INPUT_BYTES,
    as_text,
    decode_text,
    octets,
    read_json,
    read_pem,
)
from confide.certificates import common_name, load_certificate, load_crl
from confide.errors import InvalidFormat

_TCB_SIGNER, _ROOT = "Intel SGX TCB Signing", "Intel SGX Root CA"
_CAS = ("Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA")
_SIGNED = ("tcbInfo", "enclaveIdentity")
_TEES = {"QE": "SGX", "TD_QE": "TDX"}
_MAX_PARTS = 64


@dataclass
class _Parts:
    """What was found so far."""

    collaterals: list[Collateral] = field(default_factory=list)
    signed: list[tuple[str, str, bytes]] = field(default_factory=list)
    certificates: list[x509.Certificate] = field(default_factory=list)
    crls: list[x509.CertificateRevocationList] = field(default_factory=list)

    def check_size(self) -> None:
        if len(self.certificates) + len(self.crls) + len(self.signed) > _MAX_PARTS:
            raise InvalidFormat("more certificates, CRLs and documents than any evidence needs")


def read_endorsements(files: Iterable[tuple[str, bytes]]) -> GivenEndorsements:
    """Read files of endorsements; parts of collateral are put together with parts in other files.

    Args:
        files: name, for messages, and content; nothing in them is trusted.

    Raises:
        InvalidFormat: names the file that is none of these, and why.
    """
    parts = _Parts()
    for name, data in files:
        try:
            _read(data, parts)
            parts.check_size()
        except InvalidFormat as error:
            raise InvalidFormat(f"{name}: {error}") from None
    amd = [each for each in parts.certificates if not _is_intel(each.subject)]
    keys = tuple(each for each in amd if common_name(each.subject) in ("SEV-VCEK", "SEV-VLEK"))
    return GivenEndorsements(
        collaterals=(*parts.collaterals, *_assembled(parts)),
        keys=keys,
        chain=tuple(each for each in amd if each not in keys),
        crls=tuple(each for each in parts.crls if not _is_intel(each.issuer)),
    )


def describe_collateral(value: Mapping[str, Any]) -> str:
    """Return what collateral an object of JSON is; empty where it is none that is known."""
    for name, what in (("tcbInfo", "TCB info"), ("enclaveIdentity", "QE identity")):
        if isinstance(value.get(name), dict):
            document = value[name]
            said = " ".join(str(document.get(key, "?"))[:24] for key in ("id", "fmspc") if key in document)
            return f"a part of Intel's collateral: {what} of {said}"
    if not {"tcb_info", "qe_identity"} <= value.keys():
        return ""
    try:
        collateral = _whole(value)
    except InvalidFormat as error:
        return f"Intel's collateral, which does not read ({error})"
    return f"Intel's collateral for {collateral.tee.upper()} on platforms {collateral.fmspc} ({collateral.ca} CA)"


def _read(data: bytes, parts: _Parts) -> None:
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidFormat(f"more than {MAX_INPUT_BYTES} bytes")
    text = as_text(data)
    if text is None:
        _read_der(data, parts)
    elif text.lstrip()[:1] == "{":
        _read_object(text, parts)
    elif "-----BEGIN " in text:
        for block in _blocks(text):
            _read_der(block, parts)
    else:
        try:
            decoded = decode_text(text).data
        except InvalidFormat:
            raise InvalidFormat("neither collateral in JSON nor certificates or CRLs in PEM or DER") from None
        if as_text(decoded) is not None:
            _read(decoded, parts)
        else:
            _read_der(decoded, parts)


def _blocks(text: str) -> Iterator[bytes]:
    for block in read_pem(text):
        if block.label not in ("CERTIFICATE", "X509 CRL"):
            raise InvalidFormat(f"PEM with {block.label}, neither a certificate nor a CRL")
        yield block.data


def _read_der(data: bytes, parts: _Parts) -> None:
    try:
        parts.certificates.append(load_certificate(data))
    except InvalidFormat:
        try:
            parts.crls.append(load_crl(data))
        except InvalidFormat:
            raise InvalidFormat("neither a certificate nor a CRL that reads") from None


def _read_object(text: str, parts: _Parts) -> None:
    value = read_json(text)
    if not isinstance(value, dict):
        raise InvalidFormat("JSON that is no collateral")
    found = [name for name in _SIGNED if isinstance(value.get(name), dict)]
    if len(found) == 1:
        document, signature = signed_member(text.encode(), found[0])
        parts.signed.append((found[0], document, signature))
    elif {"tcb_info", "qe_identity"} <= value.keys():
        parts.collaterals.append(_whole(value))
    else:
        raise InvalidFormat("JSON that is no collateral")


def _whole(value: Mapping[str, Any]) -> Collateral:
    """Read whole collateral in either form."""
    members = {name: value.get(name) for name in Collateral.model_fields}
    for member, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
        document = members[member]
        if members[f"{member}_signature"] is None and isinstance(document, str):
            members[member], signature = signed_member(document.encode(), name)
            members[f"{member}_signature"] = signature.hex()
    for member in ("root_ca_crl", "pck_crl"):
        members[member] = _crl_bytes(members[member], member).hex()
    return Collateral.from_json(json.dumps(members).encode())


def _crl_bytes(value: Any, member: str) -> bytes:
    """Return a CRL in DER from hex, base64, PEM, or hex of PEM."""
    if isinstance(value, str) and "-----BEGIN " in value:
        data = value.encode()
    else:
        try:
            data = octets(value)
        except InvalidFormat as error:
            raise InvalidFormat(f"{member}: {error}") from None
    return load_crl(data.rstrip(b"\0") if b"-----BEGIN" in data[:64] else data).public_bytes(Encoding.DER)


def _assembled(parts: _Parts) -> Iterator[Collateral]:
    """Put parts together: every TCB info with the QE identity of its TEE, and with every PCK CRL that there is."""
    documents = {name: [each for each in parts.signed if each[0] == name] for name in _SIGNED}
    if not documents["tcbInfo"]:
        return
    by_name = {common_name(each.subject): each for each in parts.certificates}
    crls = {common_name(each.issuer): each for each in parts.crls}
    root = _pem(by_name[_ROOT]) if _ROOT in by_name else _pem(load_certificate(SGX_ROOT))
    missing = [what for what, there in _needed(documents, by_name, crls) if not there]
    if missing:
        raise InvalidFormat(f"Intel's collateral in parts, of which are missing: {', '.join(missing)}")
    for _, tcb_info, tcb_signature in documents["tcbInfo"]:
        for _, identity, identity_signature in documents["enclaveIdentity"]:
            if _TEES.get(str(json.loads(identity).get("id"))) != json.loads(tcb_info).get("id"):
                continue
            for ca in (each for each in _CAS if each in crls and each in by_name):
                members = {
                    "pck_crl_issuer_chain": _pem(by_name[ca]) + root,
                    "root_ca_crl": crls[_ROOT].public_bytes(Encoding.DER).hex(),
                    "pck_crl": crls[ca].public_bytes(Encoding.DER).hex(),
                    "tcb_info_issuer_chain": _pem(by_name[_TCB_SIGNER]) + root,
                    "tcb_info": tcb_info,
                    "tcb_info_signature": tcb_signature.hex(),
                    "qe_identity_issuer_chain": _pem(by_name[_TCB_SIGNER]) + root,
                    "qe_identity": identity,
                    "qe_identity_signature": identity_signature.hex(),
                }
                yield Collateral.from_json(json.dumps(members).encode())


def _needed(
    documents: Mapping[str, list[Any]], certificates: Mapping[str, Any], crls: Mapping[str, Any]
) -> Iterator[tuple[str, bool]]:
    yield "the QE identity", bool(documents["enclaveIdentity"])
    yield f"the certificate of {_TCB_SIGNER}", _TCB_SIGNER in certificates
    yield f"the CRL of {_ROOT}", _ROOT in crls
    yield "the PCK CRL with the certificate of its CA", any(ca in crls and ca in certificates for ca in _CAS)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _is_intel(name: x509.Name) -> bool:
    return common_name(name).startswith("Intel SGX ")
