"""Intel platforms made here: an authority in Intel's place, what it publishes, and the quotes of its machines."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.layouts import BODY_TYPES, HEADER, SGX_REPORT
from confide.attestation.intel.verify import verify_quote
from confide.errors import CollateralUnavailable, EvidenceRefused

NOW = 1_800_000_000
DAY = 24 * 3600
FMSPC, PPID, PIID, CPU_SVN = bytes.fromhex("50806f000000"), b"P" * 16, b"I" * 16, bytes([5] * 16)
MODULE_SIGNER, QE_SIGNER = b"M" * 48, b"Q" * 32
SEPT_VE_DISABLE = 1 << 28
_SGX = "1.2.840.113741.1.13.1"
_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_TEE_TYPES = {"SGX": 0, "TDX": 0x81}


def moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def iso(seconds):
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def pem(*certificates):
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates).decode()


def raw_signature(key, data):
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def structure(layout, values):
    """Return the bytes of a layout: zeros but for the fields given, numbers little-endian."""
    data = bytearray(layout.size)
    for each in layout.fields:
        value = values.get(each.name, 0 if each.number else bytes(each.size))
        raw = value.to_bytes(each.size, "little") if isinstance(value, int) else value
        assert len(raw) == each.size, each.name
        data[each.offset : each.offset + each.size] = raw
    return bytes(data)


def sequence(*parts):
    class Sequence(core.SequenceOf):
        _child_spec = core.Any

    return Sequence([core.Any.load(part) for part in parts]).dump()


def entry(oid, value):
    return sequence(core.ObjectIdentifier(f"{_SGX}.{oid}").dump(), value)


def sgx_extension(*, fmspc=FMSPC, piid=PIID, pce_id=bytes(2), pce_svn=13, cpu_svn=CPU_SVN):
    """Return the extension that says which platform it is, of a platform's certificate."""

    svns = [entry(f"2.{at + 1}", core.Integer(svn).dump()) for at, svn in enumerate(cpu_svn)]
    parts = [
        entry("1", core.OctetString(PPID).dump()),
        entry(
            "2",
            sequence(
                *svns,
                entry("2.17", core.Integer(pce_svn).dump()),
                entry("2.18", core.OctetString(cpu_svn).dump()),
            ),
        ),
        entry("3", core.OctetString(pce_id).dump()),
        entry("4", core.OctetString(fmspc).dump()),
        entry("5", b"\x0a\x01\x01"),
    ]
    if piid is not None:
        flags = [
            entry(f"7.{at}", core.Boolean(value).dump()) for at, value in ((1, True), (2, False), (3, True))
        ]
        parts += [entry("6", core.OctetString(piid).dump()), entry("7", sequence(*flags))]
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(_SGX), sequence(*parts))


@dataclass
class Signer:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(
    common_name,
    issuer=None,
    *,
    is_ca=False,
    until=NOW + 3650 * DAY,
    since=NOW - 1000 * DAY,
    extra=(),
    key=None,
):
    """Return a signer certified by `issuer`, or by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signing_key = issuer.key if issuer else key
    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usage = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(issuer.certificate.subject if issuer else name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(since))
        .not_valid_after(moment(until))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **usage),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False
        )
    )
    for extension in extra:
        builder = builder.add_extension(extension, critical=False)
    return Signer(builder.sign(signing_key, SHA256()), key)


def crl(issuer, revoked=(), *, since=NOW - DAY, until=NOW + 30 * DAY):
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(moment(since))
        .next_update(moment(until))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
    )
    for signer in revoked:
        entry_builder = x509.RevokedCertificateBuilder().serial_number(signer.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry_builder.revocation_date(moment(NOW - DAY)).build())
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.DER)


def level(status="UpToDate", *, sgx=0, tdx=(0, 0, 0), pce=0, date=NOW - 300 * DAY, advisories=()):
    """Return a TCB level of TCB info; `sgx` is every one of its components, `tdx` are the first three."""
    return {
        "tcb": {
            "sgxtcbcomponents": [{"svn": sgx}] * 16,
            "tdxtcbcomponents": [{"svn": svn} for svn in (*tdx, *[0] * 13)],
            "pcesvn": pce,
        },
        "tcbDate": iso(date),
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


def isv_level(status="UpToDate", *, svn=0, date=NOW - 300 * DAY, advisories=()):
    """Return a TCB level of a TDX module or of a quoting enclave."""
    return {
        "tcb": {"isvsvn": svn},
        "tcbDate": iso(date),
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


@dataclass
class Authority:
    """What Intel is: the root, its authorities, the signer of TCB info."""

    root: Signer = field(default_factory=lambda: issue("Intel SGX Root CA", is_ca=True))

    @property
    def root_der(self):
        return self.root.certificate.public_bytes(Encoding.DER)

    @cached_property
    def platform_ca(self):
        return issue("Intel SGX PCK Platform CA", self.root, is_ca=True)

    @cached_property
    def processor_ca(self):
        return issue("Intel SGX PCK Processor CA", self.root, is_ca=True)

    @cached_property
    def tcb_signer(self):
        return issue("Intel SGX TCB Signing", self.root)

    def tcb_info(self, tee, **changes):
        module = {"mrsigner": MODULE_SIGNER.hex(), "attributes": "00" * 8, "attributesMask": "FF" * 8}
        tdx = {
            "tdxModule": module,
            "tdxModuleIdentities": [{"id": "TDX_01", **module, "tcbLevels": [isv_level()]}],
        }
        info = {
            "id": tee,
            "version": 3,
            "issueDate": iso(NOW - DAY),
            "nextUpdate": iso(NOW + 30 * DAY),
            "fmspc": FMSPC.hex(),
            "pceId": "0000",
            "tcbType": 0,
            "tcbEvaluationDataNumber": 20,
            **(tdx if tee == "TDX" else {}),
            "tcbLevels": [level()],
        }
        return json.dumps({**info, **changes})

    def qe_identity(self, tee, **changes):
        identity = {
            "id": "TD_QE" if tee == "TDX" else "QE",
            "version": 2,
            "issueDate": iso(NOW - DAY),
            "nextUpdate": iso(NOW + 30 * DAY),
            "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11" + "00" * 15,
            "attributesMask": "FB" + "FF" * 7 + "00" * 8,
            "mrsigner": QE_SIGNER.hex(),
            "isvprodid": 2 if tee == "TDX" else 1,
            "tcbLevels": [isv_level()],
        }
        return json.dumps({**identity, **changes})

    def collateral(self, tee="TDX", *, signer=None, ca=None, **members):
        """Return collateral for `tee`; members given replace those made, and documents given are signed."""
        signer, ca = signer or self.tcb_signer, ca or self.platform_ca
        tcb_info = members.pop("tcb_info", None) or self.tcb_info(tee)
        qe_identity = members.pop("qe_identity", None) or self.qe_identity(tee)
        chain = pem(signer.certificate, self.root.certificate)
        return Collateral(
            **{
                "pck_crl_issuer_chain": pem(ca.certificate, self.root.certificate),
                "root_ca_crl": crl(self.root),
                "pck_crl": crl(ca),
                "tcb_info_issuer_chain": chain,
                "tcb_info": tcb_info,
                "tcb_info_signature": raw_signature(signer.key, tcb_info.encode()),
                "qe_identity_issuer_chain": chain,
                "qe_identity": qe_identity,
                "qe_identity_signature": raw_signature(signer.key, qe_identity.encode()),
                **members,
            }
        )


class Machine:
    """A platform of an authority: its certificate, and what its quoting enclave signs."""

    def __init__(self, authority, *, ca=None, extension=None, **certificate):
        self.authority = authority
        self.ca = ca or authority.platform_ca
        extension = extension or sgx_extension()
        self.pck = issue("Intel SGX PCK Certificate", self.ca, extra=[extension], **certificate)
        self.attestation = ec.generate_private_key(ec.SECP256R1())

    def quote(self, version=4, body_type=2, *, body=None, header=None, qe=None, chain=None, auth=b"A" * 32):
        """Return a quote; `body`, `header` and `qe` replace fields of what it would say."""
        kind = BODY_TYPES[body_type]
        tee = kind.tee.value.upper()
        sane = {"isv_svn": 3, "isv_prod_id": 7} if tee == "SGX" else self._td()
        head = {
            "version": version,
            "attestation_key_type": 2,
            "tee_type": _TEE_TYPES[tee],
            "qe_vendor_id": _VENDOR,
        }
        signed = structure(HEADER, head | (header or {}))
        if version == 5:
            signed += body_type.to_bytes(2, "little") + kind.layout.size.to_bytes(4, "little")
        signed += structure(kind.layout, sane | (body or {}))
        point = self.attestation.public_key().public_numbers()
        key = point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")
        report = structure(
            SGX_REPORT,
            {
                "attributes": b"\x11" + bytes(15),
                "mrsigner": QE_SIGNER,
                "isv_prod_id": 2 if tee == "TDX" else 1,
                "isv_svn": 5,
                "report_data": hashlib.sha256(key + auth).digest() + bytes(32),
            }
            | (qe or {}),
        )
        chain = chain or pem(self.pck.certificate, self.ca.certificate, self.authority.root.certificate)
        certified = report + raw_signature(self.pck.key, report)
        certified += len(auth).to_bytes(2, "little") + auth + _certification(5, chain.encode())
        if version != 3:
            certified = _certification(6, certified)
        rest = raw_signature(self.attestation, signed) + key + certified
        return signed + len(rest).to_bytes(4, "little") + rest

    def _td(self):
        return {
            "tee_tcb_svn": bytes([5, 1, 5]) + bytes(13),
            "tee_tcb_svn2": bytes([5, 1, 5]) + bytes(13),
            "mrsignerseam": MODULE_SIGNER,
            "td_attributes": SEPT_VE_DISABLE.to_bytes(8, "little"),
            "mrtd": b"T" * 48,
        }


def _certification(kind, data):
    return kind.to_bytes(2, "little") + len(data).to_bytes(4, "little") + data


def verified(machine, quote, collateral=None, now=NOW):
    """Verify against the machine's authority."""
    collateral = collateral or machine.authority.collateral()
    return verify_quote(quote, collateral, now, root_der=machine.authority.root_der)


def refused(machine, quote, collateral=None, now=NOW, *, step, reason, evidence="TDX quote"):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        verified(machine, quote, collateral, now)
    assert (caught.value.evidence, caught.value.step) == (evidence, step)


def unavailable(machine, quote, collateral=None, now=NOW, *, reason):
    with pytest.raises(CollateralUnavailable, match=reason):
        verified(machine, quote, collateral, now)
