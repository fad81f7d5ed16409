"""The two certificates of one run: the JVM's and the Python driver's, each trusting exactly the other."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LIFETIME = datetime.timedelta(days=397)
"""Longer than any run; the keys die with the processes."""


@dataclass(frozen=True, repr=False)
class Identity:
    """A private key with its self-signed certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str, now: datetime.datetime) -> Identity:
        """Make a P-256 identity for loopback: Python asks for 127.0.0.1, Java's loopback is called localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def key_bytes(self, encoding: Encoding) -> bytes:
        """Return the private key as PKCS #8."""
        return self.key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())


def gateway_secrets(now: datetime.datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the JVM's end of the gateway and Python's get.

    Each its own private key, the other's certificate, and the common token.
    """
    jvm, python = Identity.new("jvm", now), Identity.new("driver", now)
    token = secrets.token_hex(32)

    def der(data: bytes) -> str:
        return base64.b64encode(data).decode()

    gateway = {
        "token": token,
        "tls": {
            "key": der(jvm.key_bytes(Encoding.DER)),
            "certificate": der(jvm.certificate.public_bytes(Encoding.DER)),
            "peer": der(python.certificate.public_bytes(Encoding.DER)),
        },
    }
    driver = {
        "token": token,
        "key": python.key_bytes(Encoding.PEM).decode(),
        "certificate": python.certificate.public_bytes(Encoding.PEM).decode(),
        "peer": jvm.certificate.public_bytes(Encoding.PEM).decode(),
    }
    return gateway, driver
