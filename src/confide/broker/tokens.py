"""Attestation result tokens: EAR (draft-ietf-rats-ear) as JWT (RFC 7519), signed ES256 by the broker.

Within its five minutes a token stands for the session it came from. Format: docs/formats/kbs.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from pydantic import TypeAdapter, ValidationError

from confide.attestation.claims import Claims
from confide.canonical import sha256_hex
from confide.errors import AttestationRefused

TOKEN_TTL_S = 300
MAX_REMEMBERED = 256
MAX_TOKEN_CHARS = 512 * 1024
EAT_PROFILE = "tag:github.com,2024:confidential-containers/Trustee"

_AFFIRMING, _UNRECOGNIZED_CODE, _CONTRAINDICATED_HARDWARE = 2, 33, 97
_STATUS = ((96, "contraindicated"), (32, "warning"), (2, "affirming"), (0, "none"))
_CLAIMS = TypeAdapter(Claims)


class _Registry(JWSRegistry):
    max_payload_length = MAX_TOKEN_CHARS
    max_header_length = 4096


_REGISTRY = _Registry(algorithms=["ES256"])


class TokenIssuer:
    """Makes and verifies the tokens of one broker.

    Args:
        key: the broker's P-256 token key.
        issuer: URL of the broker.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, issuer: str) -> None:
        self._key = ECKey(key, key, {"alg": "ES256", "use": "sig"})
        self._key.ensure_kid()
        self._verified: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self.issuer = issuer

    def jwk(self) -> dict[str, Any]:
        """Return the public key as JWK."""
        return dict(self._key.as_dict(private=False))

    def issue(self, claims: Claims, nonce: str, *, known: bool, now: int) -> str:
        """Return a token.

        Args:
            claims: of verified evidence.
            nonce: of the challenge.
            known: whether a policy names the measurement.
            now: Unix seconds.
        """
        vector = {
            "configuration": _AFFIRMING if known else 36,
            "executables": _AFFIRMING if known else _UNRECOGNIZED_CODE,
            "hardware": _AFFIRMING if claims.tee.confidential else _CONTRAINDICATED_HARDWARE,
        }
        worst = max(vector.values())
        status = next(word for tier, word in _STATUS if worst >= tier)
        payload = {
            "eat_profile": EAT_PROFILE,
            "iss": self.issuer,
            "iat": now,
            "exp": now + TOKEN_TTL_S,
            "eat_nonce": nonce,
            "ear.verifier-id": {"developer": "confide", "build": "confide broker"},
            "submods": {
                "cpu0": {
                    "ear.status": status,
                    "ear.trustworthiness-vector": vector,
                    "ear.appraisal-policy-id": "owners",
                    "ear.veraison.annotated-evidence": _CLAIMS.dump_python(claims, mode="json"),
                }
            },
            "tee-pubkey": dict(claims.tee_pubkey),
        }
        header = {"alg": "ES256", "typ": "JWT", "kid": self._key.kid}
        token = jwt.encode(header, payload, self._key, registry=_REGISTRY)
        self._remember(token, payload)
        return token

    def verify(self, token: str, now: int) -> Claims:
        """Return the claims of a token that this broker issued.

        1. It is a JWT within its size, signed ES256 by this broker's key.
        2. `iss` is this broker, and `iat` <= now < `exp`.
        3. It holds claims, and the key they bind.

        Raises:
            AttestationRefused: any of these fails.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise AttestationRefused("token is too large")
        payload = self._payload(token)
        begin, end = payload.get("iat"), payload.get("exp")
        if not isinstance(begin, int) or not isinstance(end, int) or not begin <= now < end:
            raise AttestationRefused("token has expired")
        if payload.get("iss") != self.issuer:
            raise AttestationRefused("token of another broker")
        try:
            return _CLAIMS.validate_python(payload["submods"]["cpu0"]["ear.veraison.annotated-evidence"])
        except (KeyError, TypeError, ValidationError):
            raise AttestationRefused("token holds no claims") from None

    def _payload(self, token: str) -> Mapping[str, Any]:
        """Return what a token says whose signature is this broker's; those that it just made it knows."""
        known = self._verified.get(_digest(token))
        if known is not None:
            return known
        try:
            payload = jwt.decode(token, self._key, registry=_REGISTRY).claims
        except (JoseError, ValueError):
            raise AttestationRefused("token does not verify") from None
        self._remember(token, payload)
        return payload

    def _remember(self, token: str, payload: Mapping[str, Any]) -> None:
        self._verified[_digest(token)] = payload
        while len(self._verified) > MAX_REMEMBERED:
            self._verified.popitem(last=False)


def _digest(token: str) -> str:
    """Return what a token is remembered by: looking it up tells nothing of the tokens that others hold."""
    return sha256_hex(token.encode(errors="surrogatepass"))
