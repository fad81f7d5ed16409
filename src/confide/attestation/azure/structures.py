"""How bytes are written in Azure's evidence: base64url."""

from __future__ import annotations

import base64
import re

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")


def base64url(text: str) -> bytes:
    """Return the bytes of base64url text (RFC 4648 section 5), with its padding or without.

    Raises:
        ValueError: it is none.
    """
    if not _BASE64URL.fullmatch(text) or ("=" in text and len(text) % 4):
        raise ValueError("not base64url")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
