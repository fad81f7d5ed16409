"""SNP machines made here: an authority in AMD's place, endorsement keys, reports that they sign."""

from __future__ import annotations

import datetime
import hashlib
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import LAYOUT, TCB_LAYOUTS, Product, SigningKey
from confide.attestation.amd.verify import verify_report
from confide.errors import CollateralUnavailable, EvidenceRefused

NOW = 1_800_000_000
DAY = 24 * 3600
AMD = "1.3.6.1.4.1.3704.1"
CPUID = {Product.MILAN: (0x19, 0x01), Product.GENOA: (0x19, 0x11), Product.TURIN: (0x1A, 0x02)}
SVN_OIDS = {"bootloader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}
TCB = {"fmc": 1, "bootloader": 3, "tee": 0, "snp": 8, "microcode": 200}
PSS = padding.PSS(padding.MGF1(SHA384()), 48)


def moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def name(common_name, organization="Advanced Micro Devices"):
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def der(certificate):
    return certificate.public_bytes(Encoding.DER)


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)


def tcb_bytes(product, tcb):
    layout = TCB_LAYOUTS[product]
    raw = bytearray(8)
    for component in layout.fields:
        raw[component.offset] = tcb[component.name]
    return bytes(raw)


def authority_extensions(ca=True, cert_sign=True):
    usage = dict.fromkeys(
        (
            "content_commitment",
            "crl_sign",
            "data_encipherment",
            "decipher_only",
            "encipher_only",
            "key_agreement",
            "key_encipherment",
        ),
        False,
    )
    return [
        (x509.BasicConstraints(ca, None), True),
        (x509.KeyUsage(digital_signature=not cert_sign, key_cert_sign=cert_sign, **usage), True),
    ]


def issue(
    subject,
    key,
    issuer,
    issuer_key,
    extensions=(),
    *,
    serial=2,
    after=NOW + 1000 * DAY,
    before=NOW - 1000 * DAY,
    pss=PSS,
    digest=None,
):
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=serial,
        not_valid_before=moment(before),
        not_valid_after=moment(after),
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(issuer_key, digest or SHA384(), rsa_padding=pss)


class Authority:
    """Keys of roots and intermediates, the same for every product: certificates tell them apart."""

    def __init__(self):
        self.root_key = rsa.generate_private_key(65537, 4096)
        self.key = rsa.generate_private_key(65537, 4096)
        self.root = cache(self._root)
        self.intermediate = cache(self._intermediate)

    def _root(self, product, after=NOW + 5000 * DAY, before=NOW - 1000 * DAY):
        subject = name(f"ARK-{product}")
        extensions = authority_extensions()
        return issue(
            subject, self.root_key, subject, self.root_key, extensions, serial=1, after=after, before=before
        )

    def _intermediate(self, product, kind):
        return self.make_intermediate(product, kind)

    def make_intermediate(self, product, kind, *, key=None, extensions=None, issuer_key=None, **changed):
        prefix = {SigningKey.VCEK: "SEV", SigningKey.VLEK: "SEV-VLEK"}[kind]
        return issue(
            name(f"{prefix}-{product}"),
            key or self.key,
            changed.pop("issuer", None) or self.root(product).subject,
            issuer_key or self.root_key,
            authority_extensions() if extensions is None else extensions,
            **changed,
        )

    def crl(
        self,
        product,
        revoked=(),
        *,
        issuer=None,
        key=None,
        extensions=(),
        last=NOW - 1000 * DAY,
        until=NOW + 30 * DAY,
    ):
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=issuer or self.root(product).subject,
            last_update=moment(last),
            next_update=moment(until),
        )
        for serial in revoked:
            entry = x509.RevokedCertificateBuilder(serial, moment(last))
            builder = builder.add_revoked_certificate(entry.build())
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        return builder.sign(key or self.root_key, SHA384(), rsa_padding=PSS)


class Machine:
    """A chip, its certificates and its next report, any part of which a test changes."""

    def __init__(self, authority, product, kind=SigningKey.VCEK, version=3):
        self.authority, self.product, self.kind = authority, product, kind
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.hardware_id = bytes(range(1, 65))[: 8 if product is Product.TURIN else 64]
        self.tcb = {field.name: TCB[field.name] for field in TCB_LAYOUTS[product].fields}
        self.root = authority.root(product)
        self.intermediate = authority.intermediate(product, kind)
        self.issuer, self.issuer_key = self.intermediate.subject, authority.key
        self.common_name, self.product_name = f"SEV-{kind.name}", str(product)
        self.crl = None
        self.changed_extensions = {}
        self.more_extensions = []
        self.times = {}
        chip_id = self.hardware_id.ljust(64, b"\0") if kind is SigningKey.VCEK else bytes(64)
        family, model = CPUID[product] if version > 2 else (0, 0)
        self.fields = {
            "version": version,
            "policy": 0x30000,
            "signature_algo": 1,
            "platform_info": 0x25,
            "key_info": kind << 2,
            "report_data": bytes(range(64)),
            "measurement": bytes(range(100, 148)),
            "host_data": bytes(range(32)),
            "cpuid_family": family,
            "cpuid_model": model,
            "chip_id": chip_id,
        } | dict.fromkeys(
            ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb_bytes(product, self.tcb)
        )

    def of(self, product=Product.MILAN, kind=SigningKey.VCEK, version=3):
        return Machine(self.authority, product, kind, version)

    def raw(self):
        """Return the part of the report that is signed."""
        raw = bytearray(0x2A0)
        for field in LAYOUT.fields:
            if value := self.fields.get(field.name):
                value = value.to_bytes(field.size, "little") if field.number else value
                assert len(value) == field.size
                raw[field.offset : field.offset + field.size] = value
        return bytes(raw)

    def report(self, raw=None, key=None):
        raw = raw or self.raw()
        r, s = decode_dss_signature((key or self.key).sign(raw, ec.ECDSA(SHA384())))
        return raw + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)

    def extensions(self):
        """Return AMD's extensions, OID suffix -> content."""
        found = {
            "1": asn1.encode_der(1),
            "2": asn1.encode_der(asn1.IA5String(self.product_name)),
        } | {f"3.{SVN_OIDS[part]}": asn1.encode_der(version) for part, version in self.tcb.items()}
        if self.kind is SigningKey.VCEK:
            found["4"] = self.hardware_id
        else:
            found["5"] = asn1.encode_der(asn1.IA5String("a-provider"))
        found |= self.changed_extensions
        return {suffix: content for suffix, content in found.items() if content is not None}

    def endorsement(self):
        extensions = [
            (x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{AMD}.{suffix}"), content), False)
            for suffix, content in self.extensions().items()
        ]
        return issue(
            name(self.common_name),
            self.key,
            self.issuer,
            self.issuer_key,
            extensions + self.more_extensions,
            **self.times,
        )

    def certificates(self):
        return Certificates(self.endorsement(), (self.intermediate, self.root), self.crl)

    def roots(self):
        return {self.product: hashlib.sha256(der(self.root)).hexdigest()}

    def verify(self, report=None, certificates=None, now=NOW, roots=None):
        return verify_report(
            report or self.report(),
            certificates or self.certificates(),
            now,
            roots=self.roots() if roots is None else roots,
        )

    def refused(self, step, reason, **arguments):
        with pytest.raises(EvidenceRefused, match=reason) as caught:
            self.verify(**arguments)
        assert (caught.value.evidence, caught.value.step) == ("SNP report", step)

    def unavailable(self, reason, **arguments):
        with pytest.raises(CollateralUnavailable, match=reason):
            self.verify(**arguments)
