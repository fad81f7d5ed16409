"""The side of a mesh connection that listens: Spark's in a job, here Python's, which can also want a certificate."""

from __future__ import annotations

import ssl

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from confide.broker.mesh_member import MeshIdentity
from confide.broker.tls import load_chain


def tls_server(identity: MeshIdentity, *, mutual: bool = True) -> ssl.SSLContext:
    """Return a context of TLS 1.3 that shows the member's certificate, and by default wants one of its job."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    context.load_verify_locations(cadata=identity.authority.public_bytes(Encoding.DER))
    secret = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    load_chain(context, secret + identity.certificate.public_bytes(Encoding.PEM))
    return context
