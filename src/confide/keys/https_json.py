"""Bounded HTTPS to a server of keys: one request at a time, JSON back, no proxy, no redirect, TLS 1.3."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from confide.errors import Misuse, ProviderUnavailable

TIMEOUT_S = 20.0
MAX_ANSWER_BYTES = 64 * 1024


def tls_to(ca: Path | None) -> ssl.SSLContext:
    """Return TLS 1.3 with verification.

    Args:
        ca: PEM file of the only authorities accepted; None: the system's.

    Raises:
        Misuse: the file cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise Misuse(f"cannot read the certificates of the server's authority at {ca}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def call_json(
    tls: ssl.SSLContext, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
) -> tuple[int, Any]:
    """Send one request; return the status and the JSON body (None without one).

    Raises:
        ProviderUnavailable: no answer in time, a certificate that is not accepted, too large an answer, not JSON.
    """
    sent = {**headers, "Accept-Encoding": "identity"}
    base = f"{httpx.URL(url).scheme}://{httpx.URL(url).netloc.decode()}"
    try:
        with (
            httpx.Client(verify=tls, timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
            client.stream(method, url, content=body, headers=sent) as response,
        ):
            data = bytearray()
            for chunk in response.iter_raw():  # nothing unpacks itself here
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise ProviderUnavailable(f"{base} answers more than {MAX_ANSWER_BYTES} bytes")
            return response.status_code, json.loads(data) if data else None
    except (httpx.HTTPError, OSError) as error:
        raise ProviderUnavailable(f"{base}: {_reason(error)}") from None
    except (ValueError, RecursionError):
        raise ProviderUnavailable(f"{base} does not answer in JSON") from None


def member(value: Any, name: str) -> Any:
    """Return a member of a JSON object; None where there is none, or no object."""
    return value.get(name) if isinstance(value, dict) else None


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}".rstrip(": ")
