"""Key provider `vault:`: a key of the transit engine of HashiCorp Vault or OpenBao, which never leaves the server.

The server wraps: `encrypt` and `decrypt` of the transit engine (HTTP API, "Transit secrets engine"), the context as
`associated_data`. What is wrapped is the text it answers, `vault:vN:...`; a key rotated there still unwraps older ones.

A key is used for wrapping only if
1. it exists: Vault would otherwise make one silently,
2. it is an AEAD key with 256 bits, so that it authenticates the context,
3. it can neither be exported nor backed up in the clear: it cannot leave the server.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from confide.errors import Misuse, ProviderRefused, ProviderUnavailable, Tampered, WrongPassphrase
from confide.keys.https_json import call_json, member, tls_to

SECRET = "token or secret id"  # noqa: S105 - a name

_EXAMPLE = "vault://vault.clinic.example:8200/transit/confide?ca=/etc/confide/vault-ca.pem"
_PART = re.compile(r"[A-Za-z0-9._-]+")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}")
_WRAPPED = re.compile(r"vault:v[1-9][0-9]*:[A-Za-z0-9+/]+={0,2}")
_AEAD = frozenset({"aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
_NOT_AUTHENTIC = ("message authentication failed", "invalid ciphertext")


@dataclass(frozen=True)
class VaultUri:
    """What a URI says.

    Attributes:
        base: `https://host:port`.
        mount: path of the transit engine, a namespace before it if there is one.
        key: name of the key.
        ca: PEM file of the only authorities accepted; None: the system's.
        role: role id of an AppRole login at `auth/approle`; None: the secret is a token.
    """

    base: str
    mount: str
    key: str
    ca: Path | None
    role: str | None

    @classmethod
    def parse(cls, uri: str) -> VaultUri:
        """Parse `vault://host:port/mount/key?ca=/absolute/path.pem&role=role-id`; the port is 8200 if not said.

        Raises:
            Misuse: not such a URI, or one with a user or password in it.
        """
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port or 8200
            asked = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise Misuse(f"not the URI of a transit key (for instance {_EXAMPLE})") from None
        if parts.username is not None or parts.password is not None:
            raise Misuse("no token in the URI: it is asked for, or read with --passphrase-fd")
        path = parts.path.split("/")[1:]
        query = dict(asked)
        ca = Path(query["ca"]) if "ca" in query else None
        if (
            parts.scheme != "vault"
            or not host
            or parts.fragment
            or len(path) < 2
            or not all(_PART.fullmatch(part) and part not in (".", "..") for part in path)
            or len(asked) != len(query)
            or not query.keys() <= {"ca", "role"}
            or (ca is not None and not ca.is_absolute())
            or not _PART.fullmatch(query.get("role", "-"))
        ):
            raise Misuse(f"not the URI of a transit key: {uri!r} (for instance {_EXAMPLE})")
        named = f"[{host}]" if ":" in host else host
        return cls(f"https://{named}:{port}", "/".join(path[:-1]), path[-1], ca, query.get("role"))


@dataclass(frozen=True)
class TransitKey:
    """A key of the transit engine. A `KeyProvider`."""

    uri: VaultUri
    _server: _Server = field(repr=False)

    @classmethod
    def open(cls, uri: VaultUri, credential: bytes) -> TransitKey:
        """Connect, and log in if the URI names a role.

        Args:
            uri: of the key.
            credential: a token; the secret id of the role if the URI names one.

        Raises:
            WrongPassphrase: it is no credential, or role and secret id do not log in.
            ProviderUnavailable: the server does not answer, is sealed, or its certificate is not accepted.
            Misuse: the file with the authorities cannot be read.
        """
        try:
            text = credential.decode("ascii")
        except UnicodeDecodeError:
            text = ""
        if not _CREDENTIAL.fullmatch(text):
            raise WrongPassphrase(
                "not a token or secret id: up to 4096 printable ASCII characters, no spaces"
            )
        server = _Server(uri.base, tls_to(uri.ca))
        if uri.role is None:
            return cls(uri, server.with_token(text))
        return cls(uri, server.with_token(_log_in(server, uri.role, text)))

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Have `secret` wrapped, `context` as associated data.

        Raises:
            ProviderRefused: the key is missing or unsuited, or the token is invalid, expired or not permitted.
            ProviderUnavailable: as `open`.
        """
        self._check_key()
        answer = self._call("encrypt", {"plaintext": _base64(secret), "associated_data": _base64(context)})
        wrapped = answer.get("ciphertext")
        if not isinstance(wrapped, str) or not _WRAPPED.fullmatch(wrapped):
            raise ProviderUnavailable(f"{self.uri.base} answers no ciphertext")
        return wrapped.encode()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another key, another context, or changed bytes.
            ProviderRefused: the token is invalid, expired or not permitted.
            ProviderUnavailable: as `open`.
        """
        text = wrapped.decode("ascii", "replace")
        if not _WRAPPED.fullmatch(text) or not _canonical(text.rpartition(":")[2]):
            raise Tampered("not wrapped by a transit engine")
        answer = self._call("decrypt", {"ciphertext": text, "associated_data": _base64(context)})
        try:
            return base64.b64decode(answer["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError):
            raise ProviderUnavailable(f"{self.uri.base} answers no plaintext") from None

    def _check_key(self) -> None:
        """Steps 1 to 3."""
        uri = self.uri
        status, body = self._server.call("GET", f"{uri.mount}/keys/{uri.key}", None)
        if status == 404:
            raise ProviderRefused(
                f"no key {uri.key!r} in the transit engine at {uri.mount!r} of {uri.base}: "
                f"`bao write -f {uri.mount}/keys/{uri.key}` makes it"
            )
        key = _answer(uri, status, body)
        if key.get("type") not in _AEAD:
            raise ProviderRefused(
                f"transit key {uri.key!r} is of type {key.get('type')!r}; it must be aes256-gcm96"
            )
        if key.get("derived"):
            raise ProviderRefused(f"transit key {uri.key!r} derives keys; it must not (derived=false)")
        if key.get("exportable") or key.get("allow_plaintext_backup"):
            raise ProviderRefused(
                f"transit key {uri.key!r} can leave its server: make one with exportable and "
                "allow_plaintext_backup false"
            )

    def _call(self, operation: str, body: Mapping[str, str]) -> Mapping[str, Any]:
        path = f"{self.uri.mount}/{operation}/{self.uri.key}"
        return _answer(self.uri, *self._server.call("POST", path, body))


def open_uri(uri: str, secrets: Mapping[str, bytes]) -> TransitKey:
    """Open `vault://host:port/mount/key` with `secrets["token or secret id"]`.

    Raises:
        Misuse: not such a URI, or no token given.
        WrongPassphrase, ProviderUnavailable: as `TransitKey.open`.
    """
    parsed = VaultUri.parse(uri)
    if SECRET not in secrets:
        raise Misuse("the transit key needs a token, or the secret id of its role")
    return TransitKey.open(parsed, secrets[SECRET])


@dataclass(frozen=True)
class _Server:
    """A server, and the token for it."""

    base: str
    tls: ssl.SSLContext
    token: str | None = field(default=None, repr=False)

    def with_token(self, token: str) -> _Server:
        return _Server(self.base, self.tls, token)

    def call(self, method: str, path: str, body: Mapping[str, str] | None) -> tuple[int, Any]:
        """Return status and JSON body (None without one)."""
        headers = {"X-Vault-Request": "true"} | ({"X-Vault-Token": self.token} if self.token else {})
        content = None if body is None else json.dumps(body).encode()
        return call_json(self.tls, method, f"{self.base}/v1/{quote(path)}", content, headers)


def _log_in(server: _Server, role: str, secret_id: str) -> str:
    """Return the token of an AppRole login."""
    status, body = server.call("POST", "auth/approle/login", {"role_id": role, "secret_id": secret_id})
    if status in (400, 403):
        raise WrongPassphrase(f"{server.base} does not log in this role with this secret id: {_said(body)}")
    _check(server.base, status, body)
    token = member(member(body, "auth"), "client_token")
    if not isinstance(token, str) or not _CREDENTIAL.fullmatch(token):
        raise ProviderUnavailable(f"{server.base} answers the login with no token")
    return token


def _answer(uri: VaultUri, status: int, body: Any) -> Mapping[str, Any]:
    """Return `data` of an answer, or raise what it means."""
    if status == 403:
        raise ProviderRefused(
            f"{uri.base} denies it: the token is not valid, has expired, or its policy does not permit "
            f"{uri.mount}/keys, encrypt and decrypt of {uri.key!r}"
        )
    if status in (400, 422) and any(sign in _said(body) for sign in _NOT_AUTHENTIC):
        raise Tampered("wrapped key does not authenticate under the transit key")
    if status in (400, 404, 405, 422):
        raise ProviderRefused(f"{uri.base} refuses transit key {uri.mount}/{uri.key}: {_said(body)}")
    _check(uri.base, status, body)
    data = member(body, "data")
    if not isinstance(data, dict):
        raise ProviderUnavailable(f"{uri.base} answers without data")
    return data


def _check(base: str, status: int, body: Any) -> None:
    if 300 <= status < 400:
        raise ProviderUnavailable(f"{base} redirects elsewhere, which is not followed: name the active node")
    if status != 200:
        raise ProviderUnavailable(f"{base} answers status {status}: {_said(body)}")


def _said(body: Any) -> str:
    """Return the server's own words, bounded."""
    errors = member(body, "errors")
    return "; ".join(map(str, errors))[:300] if isinstance(errors, list) and errors else "no reason given"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _canonical(text: str) -> bool:
    """Whether base64 is spelled as encoders do: servers pass over bits beyond the last byte (RFC 4648 section 3.5)."""
    try:
        return _base64(base64.b64decode(text, validate=True)) == text
    except ValueError:
        return False
