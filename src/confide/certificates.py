"""X.509 certificates, requests and CRLs that others made: read as a whole, or refused.

`cryptography` reads on demand, and what it raises then is of many classes and nobody's to handle. Here all that is
looked at later is read at once, and whatever does not read is InvalidFormat. Nothing is verified.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from confide.errors import InvalidFormat

MAX_CERTIFICATE_BYTES = 8 * 1024
MAX_BUNDLE_BYTES = 128 * 1024
MAX_CRL_BYTES = 64 * 1024
MAX_CERTIFICATES = 12
MAX_REQUEST_BYTES = 8 * 1024

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_FILTERS = threading.Lock()


def load_certificate(data: bytes, limit: int = MAX_CERTIFICATE_BYTES) -> x509.Certificate:
    """Read one certificate, DER or PEM, of at most `limit` bytes.

    Raises:
        InvalidFormat: more than that, or no certificate.
    """
    _check_size(data, limit, "certificate")
    with _reading("certificate"):
        return _read_now(
            (x509.load_pem_x509_certificate if _is_pem(data) else x509.load_der_x509_certificate)(data)
        )


def load_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM bundle, at least one; other blocks of it are passed over.

    Raises:
        InvalidFormat: more than 128 KiB or 12 blocks, no certificate, or one that does not read.
    """
    _check_size(pem, MAX_BUNDLE_BYTES, "PEM bundle")
    check_count(pem.count(b"-----BEGIN "))
    with _reading("certificate chain"):
        return tuple(map(_read_now, x509.load_pem_x509_certificates(pem)))


def load_crl(data: bytes, limit: int = MAX_CRL_BYTES) -> x509.CertificateRevocationList:
    """Read one CRL, DER or PEM, of at most `limit` bytes.

    Raises:
        InvalidFormat: more than that, or no CRL.
    """
    _check_size(data, limit, "CRL")
    with _reading("CRL"):
        crl = (x509.load_pem_x509_crl if _is_pem(data) else x509.load_der_x509_crl)(data)
        _ = crl.issuer, crl.extensions, crl.last_update_utc, crl.next_update_utc
        for entry in crl:
            _ = entry.serial_number
        return crl


def load_request(pem: bytes) -> x509.CertificateSigningRequest:
    """Read a certificate request (PKCS#10). Its names and extensions, which nobody here looks at, are not read.

    Raises:
        InvalidFormat: more than 8 KiB, or no certificate request.
    """
    _check_size(pem, MAX_REQUEST_BYTES, "certificate request")
    with _reading("certificate request"):
        request = x509.load_pem_x509_csr(pem)
        _ = request.public_key(), request.signature_hash_algorithm
        return request


def common_name(name: x509.Name) -> str:
    """Return a name's common name; empty where there is not exactly one."""
    values = [attribute.value for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate says that its key may sign others (RFC 5280, 4.2.1.3 and 4.2.1.9)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return constraints.ca and usage.key_cert_sign


def is_issued_by(issued: x509.Certificate | x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Return whether something is issued in an issuer's name and signed by its key. Whether it may, is not asked."""
    try:
        if isinstance(issued, x509.CertificateRevocationList):
            return issued.issuer == issuer.subject and issued.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # other keys raise
        issued.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def check_count(count: int) -> None:
    """Refuse more certificates than any chain has.

    Raises:
        InvalidFormat: more than 12.
    """
    if count > MAX_CERTIFICATES:
        raise InvalidFormat(f"{count} certificates, at most {MAX_CERTIFICATES} are allowed")


def _check_size(data: bytes, limit: int, what: str) -> None:
    if len(data) > limit:
        raise InvalidFormat(f"{what}: {len(data)} bytes, at most {limit} are allowed")


def _is_pem(data: bytes) -> bool:
    return data.lstrip().startswith(b"-----BEGIN")


def _read_now(certificate: x509.Certificate) -> x509.Certificate:
    _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn what `cryptography` raises into InvalidFormat, and keep one of its warnings from users.

    The serial number of every VCEK is zero: AMD's choice, which no user of ours can change. Filters of warnings are
    the process's, hence the lock.
    """
    try:
        with _FILTERS, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Parsed a serial number", CryptographyDeprecationWarning)
            yield
    except _UNREADABLE as error:
        raise InvalidFormat(f"{what} does not read: {error}"[:300]) from None
