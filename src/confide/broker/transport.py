"""The clients' transport: HTTPS with TLS 1.3 to one pinned authority, bounded in time and size.

No proxy, no redirect, no environment variable and no system certificate has a say in it.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from confide import errors
from confide.errors import BrokerUnavailable, BrokerUntrusted, ConfideError, Misuse

MAX_RESPONSE_BYTES = 96 * 1024 * 1024
OVERALL_FACTOR = 6


@dataclass(frozen=True)
class Answer:
    """A successful answer."""

    body: bytes
    headers: httpx.Headers

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object.

        Raises:
            BrokerUnavailable: it is none.
        """
        return _object(self.body)


class Transport:
    """Requests to one broker.

    Args:
        url: `https://host:port`.
        ca_pem: certificate of the broker's authority, the only one trusted.
        timeout_s: longest silence; a whole answer may take six times that.

    Raises:
        Misuse: not such a URL, or no certificate.
    """

    def __init__(self, url: str, ca_pem: bytes, timeout_s: float) -> None:
        self.url = normal_url(url)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise Misuse("the broker's authority is not a certificate in PEM form") from None
        self._overall_s = timeout_s * OVERALL_FACTOR
        self._client = httpx.Client(
            verify=context, timeout=timeout_s, trust_env=False, follow_redirects=False, http2=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a request and return its successful answer.

        Raises:
            BrokerUnavailable: down, slow, cut off, or not answering as a broker does.
            BrokerUntrusted: its certificate does not chain to the pinned authority.
            ConfideError: the class that the broker named.
        """
        deadline = time.monotonic() + self._overall_s
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            with self._client.stream(
                method, self.url + path, content=body, headers=sent, cookies=None
            ) as response:
                data = bytearray()
                for chunk in response.iter_raw():
                    data += chunk
                    if len(data) > MAX_RESPONSE_BYTES:
                        raise BrokerUnavailable(f"{self.url}: answer is too large")
                    if time.monotonic() > deadline:
                        raise BrokerUnavailable(f"{self.url}: answer takes too long")
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            raise self._translated(error) from None
        finally:
            self._client.cookies.clear()
        if not response.is_success:
            raise self._refusal(response.status_code, bytes(data))
        return Answer(bytes(data), response.headers)

    def _translated(self, error: BaseException) -> ConfideError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return BrokerUntrusted(f"{self.url}: {cause.verify_message}")
            cause = cause.__cause__ or cause.__context__
        return BrokerUnavailable(f"{self.url}: {type(error).__name__}: {error}".rstrip(": "))

    def _refusal(self, status: int, body: bytes) -> ConfideError:
        try:
            document = _object(body)
        except BrokerUnavailable:
            document = {}
        error = errors.told(document.get("error"), "")
        if error is None:
            return BrokerUnavailable(f"{self.url}: status {status}")
        error.args = (f"broker {self.url}: {error.public}",)
        return error


def normal_url(url: str) -> str:
    """Return a broker's URL without a slash at its end.

    Raises:
        Misuse: not `https://host:port`.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme != "https" or not parsed.host or parsed.path != "/" or parsed.query or parsed.userinfo:
        shown = repr(url) if "@" not in url else "one with a user in it"
        raise Misuse(f"a broker's URL is https://host:port, not {shown}")
    return str(parsed).rstrip("/")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BrokerUnavailable("the broker's answer is not a JSON object")
    return value
