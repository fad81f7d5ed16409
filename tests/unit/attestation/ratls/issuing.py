"""Certificates with evidence made here, any part of which a test changes; the evidence is a stand-in."""

from __future__ import annotations

import datetime

from asn1crypto import algos, core, keys, x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from confide.attestation.claims import Platform, Tcb
from confide.attestation.ratls.claims import write_claims, write_tagged
from confide.attestation.ratls.forms import Form, bound_report_data

NOW = 1_800_000_000
DAY = 24 * 3600
PLATFORM = Platform(registers={}, numbers={}, hardware_ids=(), tcb=Tcb(), debug=False, expires=NOW + DAY)
TAGGED, GRAMINE, SGX_SDK = Form


def quote_of(report_data):
    return b"quote over " + report_data


def verify_evidence(quote):
    """Accepts what `quote_of` makes."""
    assert quote.startswith(b"quote over ")
    return PLATFORM, quote.removeprefix(b"quote over ")


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Draft:
    """A certificate to be: a test changes attributes, then takes `der()`."""

    def __init__(self, form=TAGGED, key=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.form, self.signer, self.hash = form, None, SHA256()
        self.public_key = spki(self.key)
        self.claims = write_claims(self.public_key) if form is TAGGED else b""
        self.report_data = bound_report_data(form, self.key.public_key(), self.claims)
        self.subject = self.issuer = "RATLS"
        self.before, self.after = NOW - DAY, NOW + DAY
        self.version, self.algorithm, self.inner_algorithm = "v3", None, None
        self.extensions = None
        self.more_extensions = []

    def content(self):
        quote = quote_of(self.report_data)
        return write_tagged(quote, self.claims) if self.form is TAGGED else quote

    def tbs(self):
        extensions = self.extensions
        if extensions is None:
            extensions = [(self.form.value, False, self.content())]
        return x509.TbsCertificate(
            {
                "version": self.version,
                "serial_number": 1,
                "signature": self.inner_algorithm or self.algorithm or ecdsa("sha256_ecdsa"),
                "issuer": x509.Name.build({"common_name": self.issuer}),
                "subject": x509.Name.build({"common_name": self.subject}),
                "validity": {"not_before": time(self.before), "not_after": time(self.after)},
                "subject_public_key_info": keys.PublicKeyInfo.load(self.public_key),
                "extensions": [extension(*each) for each in [*extensions, *self.more_extensions]],
            }
        )

    def der(self):
        tbs = self.tbs()
        signature = (self.signer or self.key).sign(tbs.dump(), ec.ECDSA(self.hash))
        return certificate(tbs, self.algorithm or ecdsa("sha256_ecdsa"), signature).dump()


def certificate(tbs, algorithm, signature):
    return x509.Certificate(
        {"tbs_certificate": tbs, "signature_algorithm": algorithm, "signature_value": signature}
    )


def ecdsa(name, null=False):
    """Return an algorithm identifier, with the NULL parameters of an old TLS library if wanted."""
    identifier = algos.SignedDigestAlgorithm({"algorithm": name})
    return algos.SignedDigestAlgorithm({"algorithm": name, "parameters": core.Null()}) if null else identifier


def extension(oid, critical, content):
    return x509.Extension(
        {"extn_id": oid, "critical": critical, "extn_value": core.ParsableOctetString(content)}
    )


def time(seconds):
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return x509.Time({"utc_time" if moment.year < 2050 else "general_time": moment})
