"""Key provider `aws-kms:`: a symmetric key of AWS KMS, which never leaves the service.

The service wraps: `Encrypt` and `Decrypt` of its JSON API (AWS KMS API Reference, 2014-11-01), the context as
encryption context, which it authenticates. What is wrapped is its ciphertext blob; rotated keys unwrap older ones.
Credentials are those of the standard chain (environment, profile, container or instance role), found and used by
botocore, which also signs the calls (Signature Version 4).

A key is used for wrapping only if
1. it is there, enabled, symmetric and for encryption,
2. its material was made in the service or its HSMs: imported material is known outside.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from confide.errors import MissingDependency, Misuse, ProviderRefused, ProviderUnavailable, Tampered
from confide.keys.https_json import call_json, member, tls_to

_EXAMPLE = "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_ARN = re.compile(
    r"arn:(aws[a-z-]{0,16}):kms:([a-z0-9-]{1,32}):[0-9]{12}:(?:key|alias)/[A-Za-z0-9/_-]{1,256}"
)
_CONTEXT = "confide"
_MADE_INSIDE = frozenset({"AWS_KMS", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"})
_NOT_AUTHENTIC = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_NO = frozenset(
    {
        *(
            "AccessDeniedException",
            "DisabledException",
            "InvalidKeyUsageException",
            "KMSInvalidStateException",
        ),
        *("NotFoundException", "ExpiredTokenException", "InvalidSignatureException", "ValidationException"),
        *(
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
            "IncompleteSignatureException",
        ),
    }
)


@dataclass(frozen=True)
class KmsUri:
    """What a URI says.

    Attributes:
        arn: of the key, or of an alias.
        region: from the ARN.
        endpoint: `https://host[:port]`.
        ca: PEM file of the only authorities accepted; None: the system's.
    """

    arn: str
    region: str
    endpoint: str
    ca: Path | None

    @classmethod
    def parse(cls, uri: str) -> KmsUri:
        """Parse `aws-kms://ARN?endpoint=https://host&ca=/absolute/path.pem`; both parameters may be left out.

        The ARN is that of a key or an alias (AWS General Reference); the region's own endpoint is asked, or the one
        named, for instance of a VPC.

        Raises:
            Misuse: not such a URI.
        """
        arn, _, query = uri.removeprefix("aws-kms://").partition("?")
        found = _ARN.fullmatch(arn)
        try:
            asked = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
            values = dict(asked)
            domain = "amazonaws.com.cn" if found and found[1] == "aws-cn" else "amazonaws.com"
            endpoint = values.get("endpoint", f"https://kms.{found[2] if found else ''}.{domain}")
            parts = urlsplit(endpoint)
            usable = parts.scheme == "https" and bool(parts.hostname) and parts.netloc == endpoint[8:]
            usable = usable and parts.username is None and parts.port != 0
        except ValueError:
            found = None
        if (
            found is None
            or not usable
            or len(asked) != len(values)
            or not values.keys() <= {"endpoint", "ca"}
        ):
            raise Misuse(f"not the URI of a KMS key: {uri!r} (for instance {_EXAMPLE})")
        ca = Path(values["ca"]) if "ca" in values else None
        if ca is not None and not ca.is_absolute():
            raise Misuse("the file of authorities in the URI of a KMS key has an absolute path")
        return cls(arn, found[2], endpoint, ca)


@dataclass(frozen=True)
class KmsKey:
    """A key of AWS KMS. A `KeyProvider`."""

    uri: KmsUri
    _tls: ssl.SSLContext = field(repr=False)
    _credentials: Any = field(repr=False)

    @classmethod
    def open(cls, uri: KmsUri) -> KmsKey:
        """Find credentials; nothing is asked of the service yet.

        Raises:
            MissingDependency: botocore is not installed.
            ProviderUnavailable: there are no credentials.
            Misuse: the file with the authorities cannot be read.
        """
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ImportError:
            raise MissingDependency(
                "keys of AWS KMS need the extra `aws`: pip install 'confide[aws]'"
            ) from None
        try:
            credentials = Session().get_credentials()
        except BotoCoreError as error:
            raise ProviderUnavailable(f"credentials of AWS: {error}") from None
        if credentials is None:
            raise ProviderUnavailable(
                "no credentials of AWS: neither in the environment, nor a profile, nor a role of this machine"
            )
        return cls(uri, tls_to(uri.ca), credentials)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Have `secret` wrapped, `context` as encryption context.

        Raises:
            ProviderRefused: the key is missing or unsuited, or the credentials are not valid or not permitted.
            ProviderUnavailable: the service does not answer, or its certificate is not accepted.
        """
        self._check_key()
        return self._blob("Encrypt", "CiphertextBlob", {"Plaintext": _base64(secret)}, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another key, another context, or changed bytes.
            ProviderRefused, ProviderUnavailable: as `wrap`.
        """
        if not 1 <= len(wrapped) <= 6144:  # bounds of the API
            raise Tampered("not wrapped by AWS KMS")
        return self._blob("Decrypt", "Plaintext", {"CiphertextBlob": _base64(wrapped)}, context)

    def _check_key(self) -> None:
        """Steps 1 and 2."""
        key = member(self._call("DescribeKey", {"KeyId": self.uri.arn}), "KeyMetadata")
        spec, usage = member(key, "KeySpec"), member(key, "KeyUsage")
        if (spec, usage) != ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT") or member(key, "Enabled") is not True:
            raise ProviderRefused(
                f"{self.uri.arn} is not an enabled, symmetric key for encryption: it is {spec}, {usage}, "
                f"{member(key, 'KeyState')}"
            )
        if member(key, "Origin") not in _MADE_INSIDE:
            raise ProviderRefused(f"{self.uri.arn} has imported material, which is known outside the service")

    def _blob(self, operation: str, name: str, body: Mapping[str, str], context: bytes) -> bytes:
        said = self._call(
            operation,
            {
                **body,
                "KeyId": self.uri.arn,
                "EncryptionContext": {_CONTEXT: _base64(context)},
                "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            },
        )
        try:
            return base64.b64decode(member(said, name), validate=True)
        except (TypeError, binascii.Error):
            raise ProviderUnavailable(f"{self.uri.endpoint} answers no {name}") from None

    def _call(self, operation: str, body: Mapping[str, Any]) -> Any:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"TrentService.{operation}"}
        request = AWSRequest("POST", f"{self.uri.endpoint}/", headers, data)
        try:
            SigV4Auth(self._credentials.get_frozen_credentials(), "kms", self.uri.region).add_auth(request)
        except BotoCoreError as error:
            raise ProviderUnavailable(f"credentials of AWS: {error}") from None
        status, said = call_json(self._tls, "POST", request.url, data, dict(request.headers))
        if status == 200:
            return said
        kind = str(member(said, "__type") or "").rpartition("#")[2]
        reason = str(member(said, "message") or member(said, "Message") or "no reason given")[:300]
        if kind in _NOT_AUTHENTIC:
            raise Tampered("wrapped key does not authenticate under the KMS key")
        if kind in _NO:
            raise ProviderRefused(
                f"{self.uri.endpoint} refuses {operation} with {self.uri.arn}: {kind}: {reason}"
            )
        raise ProviderUnavailable(f"{self.uri.endpoint} answers status {status}: {kind} {reason}".rstrip())


def open_uri(uri: str, secrets: Mapping[str, bytes]) -> KmsKey:
    """Open `aws-kms://ARN`; it takes no secret.

    Raises:
        Misuse: not such a URI, or a secret is given.
        MissingDependency, ProviderUnavailable: as `KmsKey.open`.
    """
    if secrets:
        raise Misuse(
            "a KMS key takes no passphrase: credentials of AWS are found where AWS's tools find them"
        )
    return KmsKey.open(KmsUri.parse(uri))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
