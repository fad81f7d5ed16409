"""The broker's own certificate authority (X.509, P-256): what clients pin, and the leaf it serves TLS with."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from confide.broker.identity import secret_of
from confide.certificates import load_certificate
from confide.errors import InvalidFormat, Misuse

if TYPE_CHECKING:
    from confide.broker.store import Store  # a server's, and clients need only what is beside it

Attest = Callable[[ec.EllipticCurvePublicKey, str], x509.UnrecognizedExtension]
"""Makes the extension with evidence for a key and the authority's fingerprint (`attested_leaf`)."""

CA_YEARS = 10
LEAF_DAYS = 90
SKEW = timedelta(minutes=5)


def authority_id(pem: bytes) -> str:
    """Return what names a broker: the SHA-256 of its authority's certificate (DER), 64 hex digits.

    Raises:
        InvalidFormat: not a certificate.
    """
    try:
        return load_certificate(pem).fingerprint(hashes.SHA256()).hex()
    except InvalidFormat as error:
        raise InvalidFormat(f"the broker's authority: {error}") from None


@dataclass(frozen=True)
class CertificateAuthority:
    """A self-signed authority; `to_pem` holds its private key and belongs into a store's secrets."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, now: int, called: str = "confide broker authority") -> CertificateAuthority:
        """Make a new authority of this common name, valid for ten years from `now` (Unix seconds)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
        start = datetime.fromtimestamp(now, UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - SKEW)
            .not_valid_after(start + timedelta(days=365 * CA_YEARS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def of(cls, store: Store) -> CertificateAuthority:
        """Return the authority of a home, made on first use.

        Raises:
            Tampered: its cell in the store was changed.
        """
        return cls.from_pem(secret_of(store, "broker-ca", lambda: cls.create(int(time.time())).to_pem()))

    @classmethod
    def from_pem(cls, pem: bytes) -> CertificateAuthority:
        """Read what `to_pem` wrote.

        Raises:
            InvalidFormat: something else.
        """
        try:
            key = load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
        except ValueError:
            raise InvalidFormat("not a certificate authority") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise InvalidFormat("the authority's key is not an EC key")
        return cls(certificate, key)

    def to_pem(self) -> bytes:
        """Return private key and certificate."""
        return _key_pem(self.key) + self.certificate_pem

    @property
    def certificate_pem(self) -> bytes:
        """The certificate that clients pin."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER), 64 hex digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def issue_leaf(
        self, names: Sequence[str], now: int, attest: Attest | None = None, called: str = "confide broker"
    ) -> bytes:
        """Return a fresh key and a certificate for TLS servers of these names, as one PEM.

        Args:
            names: DNS names and IP addresses, at least one.
            now: Unix seconds.
            attest: makes the extension with evidence for the key; None: there is none.
            called: common name of the subject.

        Raises:
            Misuse: no name.
            AttestationRefused: no evidence is given.
        """
        if not names:
            raise Misuse("a server's certificate needs a name")
        key = ec.generate_private_key(ec.SECP256R1())
        start = datetime.fromtimestamp(now, UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start - SKEW)
            .not_valid_after(start + timedelta(days=LEAF_DAYS))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if attest is not None:
            builder = builder.add_extension(attest(key.public_key(), self.fingerprint), critical=False)
        leaf = builder.sign(self.key, hashes.SHA256())
        return _key_pem(key) + leaf.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """Return the extension for a key that may do these things and nothing else."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
