"""Signed policies: the TOML bytes in a flattened JWS by the owner's key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from confide.broker.policy import MAX_POLICY_BYTES, Policy, parse_policy
from confide.errors import PolicyRefused
from confide.keys.signing import open_jws, sign_jws

POLICY_TYP = "confide-policy+toml"


def sign_policy(toml: bytes, signing_key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return the policy signed by its owner.

    Raises:
        InvalidPolicy: `faults` lists every fault with its line.
    """
    policy = parse_policy(toml)
    return sign_jws(signing_key, toml, {"kid": policy.owner, "typ": POLICY_TYP})


def verify_policy(
    jws: Mapping[str, Any], owners: Mapping[str, Ed25519PublicKey], now: int
) -> tuple[Policy, bytes]:
    """Verify a signed policy.

    1. The JWS verifies under the pinned key of the owner it names.
    2. The TOML has no fault.
    3. The policy's owner is the one who signed.
    4. Its validity has not ended (it may begin later).

    Returns:
        The policy and its TOML.

    Raises:
        SignatureRefused: step 1.
        InvalidPolicy: step 2.
        PolicyRefused: steps 3 and 4.
    """
    verified = open_jws(jws, owners, POLICY_TYP, MAX_POLICY_BYTES)
    policy = parse_policy(verified.payload)
    if policy.owner != verified.kid:
        raise PolicyRefused(f"policy of {policy.owner} is signed by {verified.kid}")
    if policy.not_after.timestamp() <= now:
        raise PolicyRefused(f"policy of {policy.owner} ended at {policy.not_after.isoformat()}")
    return policy, verified.payload
