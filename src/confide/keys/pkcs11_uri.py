"""PKCS#11 URIs (RFC 7512), as far as they name one key in one token of one module."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from confide.errors import Misuse

PREFIX = "pkcs11:"
_PATH_TEXTS = frozenset({"token", "serial", "manufacturer", "model", "object"})
_PATH_NAMES = _PATH_TEXTS | {"id", "type"}
_QUERY_NAMES = frozenset({"module-path"})
_SECRETS = frozenset({"pin-value", "pin-source"})
_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&/|]|%[0-9A-Fa-f]{2})*")
_EXAMPLE = "pkcs11:token=confide;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True)
class Pkcs11Uri:
    """What a URI says; None: not said, so any.

    Attributes:
        module: path of the shared library.
        token: label of the token.
        serial: its serial number.
        manufacturer: of the token.
        model: of the token.
        object: label of the key.
        id: CKA_ID of the key.
    """

    module: Path
    token: str | None
    serial: str | None
    manufacturer: str | None
    model: str | None
    object: str | None
    id: bytes | None

    @classmethod
    def parse(cls, uri: str, kind: str = "secret-key") -> Pkcs11Uri:
        """Parse a URI that names a token (`token` or `serial`), a key (`object` or `id`) and `module-path`.

        An attribute that is not understood is refused, since ignoring it could select another key.

        Args:
            uri: the URI.
            kind: its `type`, if it says one: `secret-key` or `private`.

        Raises:
            Misuse: not such a URI, or one with a PIN in it.
        """
        if not uri.startswith(PREFIX):
            raise Misuse(f"not a PKCS#11 URI: {uri!r} (for instance {_EXAMPLE!r})")
        path, _, query = uri.removeprefix(PREFIX).partition("?")
        told = _attributes(path.split(";"), _PATH_NAMES)
        asked = _attributes(query.split("&") if query else [], _QUERY_NAMES)
        texts = {name: _text(name, told[name]) for name in _PATH_TEXTS & told.keys()}
        if told.get("type", kind.encode()) != kind.encode():
            raise Misuse(f"the PKCS#11 URI names another kind of key than is used here: type={kind}")
        if not {"token", "serial"} & texts.keys() or not {"object", "id"} & told.keys():
            raise Misuse(f"the PKCS#11 URI must say which token and which object (for instance {_EXAMPLE!r})")
        module = Path(_text("module-path", asked.get("module-path", b"")))
        if not module.is_absolute():
            raise Misuse(
                "the PKCS#11 URI must say where the token's module is: ?module-path=/absolute/path.so"
            )
        return cls(
            module,
            texts.get("token"),
            texts.get("serial"),
            texts.get("manufacturer"),
            texts.get("model"),
            texts.get("object"),
            told.get("id"),
        )


def _attributes(parts: list[str], known: frozenset[str]) -> dict[str, bytes]:
    """Return attributes by name, percent-decoded (RFC 7512 section 2.3)."""
    found: dict[str, bytes] = {}
    for part in parts:
        name, separator, value = part.partition("=")
        if name in _SECRETS:
            raise Misuse(f"no {name} in the URI: the PIN is asked for, or read with --passphrase-fd")
        if not separator or name not in known or name in found:
            raise Misuse(f"PKCS#11 URI: {name!r} is not understood here, has no value, or comes twice")
        if not value or not _VALUE.fullmatch(value):
            raise Misuse(f"PKCS#11 URI: the value of {name} is empty, or has characters that need %XX")
        found[name] = unquote_to_bytes(value)
    return found


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Misuse(f"PKCS#11 URI: {name} is not UTF-8") from None
    if "\0" in text:
        raise Misuse(f"PKCS#11 URI: {name} has a NUL in it")
    return text
