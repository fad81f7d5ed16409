"""How clients reach workers: HTTPS with TLS 1.3. Nothing that comes back is trusted but what was sealed."""

from __future__ import annotations

import ssl

import httpx

from confide import errors
from confide.errors import AttestationRefused, ConfideError, InvalidFormat, Misuse, Unavailable
from confide.serving import failures
from confide.serving.failures import Unreachable
from confide.serving.identity import MAX_BYTES, Introduction
from confide.serving.sealed import CONTEXT_HEADER, ERROR_HEADER, MEDIA_TYPE

MAX_REPLY_BYTES = 1024 * 1024 * 1024


def client_tls(authority_pem: bytes) -> ssl.SSLContext:
    """Return a context of TLS 1.3 that trusts one authority.

    Raises:
        Misuse: no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=authority_pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise Misuse("not a certificate in PEM form") from None
    return context


def ask_introduction(url: str, authority_pem: bytes | None, timeout_s: float) -> Introduction:
    """Return what is introduced at an address.

    Without an authority the connection is not verified: nobody is known yet, nothing secret is sent, and what comes
    is evidence.

    Raises:
        Unreachable: nobody answers there.
        AttestationRefused: what comes is no introduction.
    """
    if authority_pem is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = client_tls(authority_pem)
    try:
        with httpx.Client(verify=context, timeout=timeout_s, trust_env=False) as client:
            data = _exchange(client, "GET", url, None, {}, MAX_BYTES)
    except httpx.HTTPError as error:
        raise Unreachable(f"{url}: {type(error).__name__}: {error}") from None
    try:
        return Introduction.parse(data, MAX_BYTES)
    except InvalidFormat as error:
        raise AttestationRefused(f"serving worker, step 1: {error}") from None


def post(client: httpx.Client, url: str, data: bytes, context: str) -> bytes:
    """Send a sealed request, and return the sealed reply.

    Raises:
        Unreachable: nobody answers.
        ConfideError: of the kind that is named where there is no reply. Nothing vouches for that: whoever stands
            between can say it, as he can leave out answers.
    """
    headers = {"content-type": MEDIA_TYPE, **({CONTEXT_HEADER: context} if context else {})}
    try:
        return _exchange(client, "POST", url, data, headers, MAX_REPLY_BYTES)
    except httpx.HTTPError as error:
        raise Unreachable(f"{url}: {type(error).__name__}: {error}") from None


def _exchange(
    client: httpx.Client, method: str, url: str, data: bytes | None, headers: dict[str, str], most: int
) -> bytes:
    with client.stream(method, url, content=data, headers=headers) as response:
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > most:
                raise Unavailable(f"{url}: the answer is too large")
        if not response.is_success:
            raise _named(response.status_code, response.headers.get(ERROR_HEADER, ""))
        return bytes(body)


def _named(status: int, name: str) -> ConfideError:
    kind = getattr(errors, name, None) or getattr(failures, name, None)
    if not (isinstance(kind, type) and issubclass(kind, ConfideError)):
        kind = failures.of_status(status)
    error: ConfideError = kind.__new__(kind)
    Exception.__init__(error, f"the server says: {kind.public}")  # whatever else it is made from was not told
    return error
