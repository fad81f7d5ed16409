"""The tokens by which a Spark server knows its clients: one for each live version of the key that its policy names.

The broker releases that key to the approved server alone, and its owner derives the same token at home. So no token is
ever stored, and rotating the key makes a new one, revoking a version ends one.
"""

from __future__ import annotations

from confide.broker.release import Release
from confide.errors import NoGrant
from confide.keys.material import NamedKey
from confide.keys.names import KeyName

_PURPOSE = b"confide/v1/spark/token"


def token(key: NamedKey, version: int) -> str:
    """Return the token of a version: 64 hex digits.

    Raises:
        UnknownKey, RevokedKey: there is no such version, or no more.
    """
    return key.derive(version, _PURPOSE).hex()


def released_tokens(release: Release) -> list[str]:
    """Return the tokens that a server takes, the newest first.

    Raises:
        NoGrant: the policy names no key for requests.
    """
    if release.requests is None:
        raise NoGrant(
            "the policy names no key that clients' tokens are made of: `confide policy allow ... --requests OWNER/KEY`"
        )
    key = release.keyset().key(KeyName.parse(release.requests))
    return [token(key, version) for version in sorted(key.secrets, reverse=True)]
