"""Documents of the servers that publish collateral: over HTTPS, each bounded in size, all of them together in time.

What they publish is signed by the maker of the hardware, and checked elsewhere. TLS is there so that nobody else
chooses which of it arrives.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from confide.errors import CollateralUnavailable, Misuse

TIMEOUT_S = 20.0
_ASKED_TOO_OFTEN = (429, 503)
_SECONDS = re.compile(r"[0-9]{1,9}")
_PLAIN_HOST = "localhost"


@dataclass(frozen=True)
class Wanted:
    """A document to get.

    Attributes:
        url: absolute; of a base that `base_url` accepted.
        most: bytes that its body may have.
    """

    url: str
    most: int


@dataclass(frozen=True)
class Document:
    """A document as its server sent it.

    Attributes:
        url: where it was.
        body: at most what was wanted.
        headers: names in any case.
    """

    url: str
    body: bytes
    headers: httpx.Headers


def base_url(text: str) -> str:
    """Return a server's URL, which may have a path, without a slash at its end.

    Raises:
        Misuse: not https (plain http goes to this machine alone), or with a user, query or fragment.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or url.userinfo or url.query or url.fragment or url.scheme not in ("https", "http"):
        raise Misuse(f"not the URL of a server: {text!r} (for instance https://pccs.example:8081)")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise Misuse(f"{text!r}: plain http goes to this machine alone; use https")
    return str(url).rstrip("/")


def tls_context(ca_pem: bytes | None = None) -> ssl.SSLContext:
    """Return how servers are verified: by the system's certificates, or by `ca_pem` alone.

    Vendors' servers do not all speak TLS 1.3, so 1.2 is accepted. What is named may be the server's own certificate, as
    the PCCS's installer makes it: signed by itself, for one host name, and without a word on being an authority.

    Raises:
        Misuse: `ca_pem` has no certificates.
    """
    if ca_pem is not None and not ca_pem:  # to OpenSSL an empty text is none, which stands for the system's
        raise Misuse("the server's authority is not a certificate in PEM form")
    try:
        context = ssl.create_default_context(cadata=None if ca_pem is None else ca_pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise Misuse("the server's authority is not a certificate in PEM form") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_pem is not None:  # Python 3.13 would demand extensions that such a certificate has not
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def download(
    wanted: Mapping[str, Wanted], tls: ssl.SSLContext, timeout_s: float = TIMEOUT_S
) -> dict[str, Document]:
    """Get documents at the same time, all of them or none; no redirect is followed.

    A server that is asked too often (AMD's answers about one request for a chip's certificate in ten seconds) is asked
    once more when it says, if that is in time; nothing else is tried twice. Not to be called from a thread that runs
    an event loop.

    Args:
        wanted: name -> document.
        tls: of `tls_context`.
        timeout_s: for all of them together, however slowly they drip.

    Returns:
        name -> document.

    Raises:
        CollateralUnavailable: a server does not answer, in time, as itself, with this document; or with too much.
    """
    return asyncio.run(_download(wanted, tls, timeout_s))


async def _download(
    wanted: Mapping[str, Wanted], tls: ssl.SSLContext, timeout_s: float
) -> dict[str, Document]:
    failure: BaseException
    deadline = asyncio.get_running_loop().time() + timeout_s
    try:
        async with (
            asyncio.timeout_at(deadline),
            httpx.AsyncClient(
                verify=tls,
                timeout=None,  # noqa: S113 - the one above counts
                trust_env=False,
                follow_redirects=False,
                headers={"Accept-Encoding": "identity", "User-Agent": "confide"},
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            tasks = {name: group.create_task(_get(client, each, deadline)) for name, each in wanted.items()}
        return {name: task.result() for name, task in tasks.items()}
    except* CollateralUnavailable as errors:
        failure = errors
    except* TimeoutError:
        hosts = ", ".join(sorted({httpx.URL(each.url).host for each in wanted.values()}))
        failure = CollateralUnavailable(f"{hosts}: no complete answer within {timeout_s:g} s")
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    raise failure


async def _get(client: httpx.AsyncClient, wanted: Wanted, deadline: float) -> Document:
    try:
        async with client.stream("GET", wanted.url) as response:
            wait = _told_to_wait(response)
            if wait is None or asyncio.get_running_loop().time() + wait >= deadline:
                return await _read(response, wanted)
        await asyncio.sleep(wait)
        async with client.stream("GET", wanted.url) as response:
            return await _read(response, wanted)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise CollateralUnavailable(f"{wanted.url}: {_reason(error)}") from None


async def _read(response: httpx.Response, wanted: Wanted) -> Document:
    _check_head(response)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > wanted.most:
            raise CollateralUnavailable(f"{wanted.url}: more than {wanted.most} bytes")
    return Document(wanted.url, bytes(body), response.headers)


def _check_head(response: httpx.Response) -> None:
    url = response.request.url
    if response.is_redirect:
        raise CollateralUnavailable(f"{url}: redirects elsewhere, which is not followed")
    if response.status_code != 200:
        wait = _told_to_wait(response)
        told = "" if wait is None else f", and to come back in {wait} s"
        raise CollateralUnavailable(f"{url}: status {response.status_code}{told}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise CollateralUnavailable(f"{url}: compressed, which was not asked for")


def _told_to_wait(response: httpx.Response) -> int | None:
    """Return the seconds after which to ask again (RFC 9110, 10.2.3); None: it says none, or a date."""
    told = response.headers.get("retry-after", "")
    if response.status_code not in _ASKED_TOO_OFTEN or not _SECONDS.fullmatch(told):
        return None
    return int(told)


def _reason(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == _PLAIN_HOST
