"""The one place that calls dcap-qvl, so that whatever it raises ends here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import dcap_qvl

T = TypeVar("T")


# Messages that say what failed and leave the cause to those behind them.
_CONTEXT = re.compile(r"Failed to|TDX module .* check|validation failed")


class QvlRefusal(Exception):
    """What dcap-qvl objects to, in its own words, with causes behind it."""


def parse(data: bytes, read: Callable[[Any], T]) -> T:
    """Return what `read` takes from dcap-qvl's view of a quote. Raises QvlRefusal."""
    return _guarded(lambda: read(dcap_qvl.parse_quote(data)))


def collateral_of(*members: str | bytes) -> Any:
    """Return dcap-qvl's collateral from the nine members of `Collateral`, in their order there. Raises QvlRefusal."""
    return _guarded(lambda: dcap_qvl.QuoteCollateralV3(*members))


def verify(data: bytes, collateral: Any, now: int, root: bytes) -> dict[str, Any]:
    """Return dcap-qvl's claims of a quote that it verified; of the TCB statuses it refuses "Revoked" alone.

    Raises:
        QvlRefusal: with causes, which only the older of its two calls states.
    """

    def claims() -> dict[str, Any]:
        policy = dcap_qvl.QuotePolicy.claims_only(now)
        verified = dcap_qvl.QuoteVerifier(root).verify_with_policy(data, collateral, now, policy)
        found: dict[str, Any] = json.loads(verified.to_json())
        return found

    try:
        return _guarded(claims)
    except QvlRefusal as refusal:
        if _CONTEXT.search(str(refusal)):
            _guarded(lambda: dcap_qvl.verify_with_root_ca(data, collateral, root, now))
        raise


def _guarded(call: Callable[[], T]) -> T:
    try:
        return call()
    except (ValueError, OverflowError) as error:
        raise QvlRefusal(str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust code, derived from BaseException
            raise
        raise QvlRefusal("dcap-qvl failed within") from None
