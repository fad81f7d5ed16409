"""Key providers: what protects the root key of a store. Chosen by URI through one visible table."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from confide.errors import Misuse


@dataclass(frozen=True)
class Scheme:
    """How providers of one URI scheme are opened.

    Attributes:
        target: `module:attribute` of a function (uri, secrets) -> KeyProvider.
        secret: name of the one secret that opens it; None: it needs none.
        recoverable: whether owners may keep shares of a root key under it. Not where a device or a server is there
            so that nothing opens the store without it.
    """

    target: str
    secret: str | None
    recoverable: bool


PROVIDERS: Mapping[str, Scheme] = {
    "aws-kms": Scheme("confide.keys.aws_kms:open_uri", None, recoverable=False),
    "file": Scheme("confide.keys.passphrase_file:open_uri", "passphrase", recoverable=True),
    "pkcs11": Scheme("confide.keys.pkcs11:open_uri", "PIN", recoverable=False),
    "sealed": Scheme("confide.keys.enclave_sealed:open_uri", None, recoverable=True),
    "vault": Scheme("confide.keys.vault:open_uri", "token or secret id", recoverable=False),
}
"""By URI scheme."""

MAX_URI_CHARS = 4096
_URI = re.compile(r"[\x21-\x7e]+")
"""RFC 3986: what is not printable ASCII is percent-encoded."""


class KeyProvider(Protocol):
    """Wraps and unwraps small secrets under a key that the provider keeps to itself."""

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return `secret` encrypted, `context` being authenticated with it."""
        ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another key, another context, or changed bytes.
        """
        ...


def scheme_of(uri: str) -> Scheme:
    """Return the row of the table for `uri`.

    Raises:
        Misuse: not a URI, or no provider has that scheme.
    """
    if len(uri) > MAX_URI_CHARS or not _URI.fullmatch(uri):
        raise Misuse("not the URI of a key provider: up to 4096 printable ASCII characters, no spaces")
    scheme = uri.partition(":")[0]
    found = PROVIDERS.get(scheme)
    if found is None:
        raise Misuse(f"no key provider for {scheme!r} (known: {', '.join(sorted(PROVIDERS))})")
    return found


def open_provider(uri: str, secrets: Mapping[str, bytes]) -> KeyProvider:
    """Open the key provider that `uri` names.

    Args:
        uri: for instance `file:///home/ana/.confide/root.json`.
        secrets: what opens it, by name as in `PROVIDERS`. Never part of the URI.

    Raises:
        Misuse: no provider has that scheme, the URI is not one of its, or its secret is missing.
        WrongPassphrase: the secret does not open it.
        ProviderRefused: it does not serve this key: missing, unsuited, not permitted.
        ProviderUnavailable: it does not answer.
        MissingDependency: it needs an extra that is not installed.
    """
    module, _, attribute = scheme_of(uri).target.partition(":")
    opener: Callable[[str, Mapping[str, bytes]], KeyProvider] = getattr(
        importlib.import_module(module), attribute
    )
    return opener(uri, secrets)
