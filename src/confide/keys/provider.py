"""Key providers: what protects the root key of a store. Chosen by URI through one visible table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from confide.errors import Misuse

PROVIDERS: Mapping[str, str] = {
    "file": "confide.keys.passphrase_file:open_uri",
}
"""URI scheme -> `module:attribute` of a function (uri, secrets) -> KeyProvider."""


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


def open_provider(uri: str, secrets: Mapping[str, bytes]) -> KeyProvider:
    """Open the key provider that `uri` names.

    Args:
        uri: for instance `file:///home/ana/.confide/root.json`.
        secrets: what opens it, by name; `file` takes `passphrase`. Never part of the URI.

    Raises:
        Misuse: no provider has that scheme.
        WrongPassphrase: the secret does not open it.
    """
    scheme = urlsplit(uri).scheme
    target = PROVIDERS.get(scheme)
    if target is None:
        raise Misuse(f"no key provider for {scheme!r} (known: {', '.join(sorted(PROVIDERS))})")
    module, _, attribute = target.partition(":")
    opener: Callable[[str, Mapping[str, bytes]], KeyProvider] = getattr(
        importlib.import_module(module), attribute
    )
    return opener(uri, secrets)
