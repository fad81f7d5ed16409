"""Which TCB levels of Intel's the parts of a platform meet.

Source: Intel SGX and TDX Provisioning Certification Service, API version 4, "Get TCB Info" and "Get Quote Verification
Enclave Identity": the first level none of whose components is above the platform's. In what dcap-qvl verifies, its own
answer counts; this one explains refusals (`explain.levels`), and counts where dcap-qvl gives none (`paravisor`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from confide.attestation.claims import Tee
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote
from confide.attestation.intel.tcb import Level, read_level, worst


def levels_met(quote: Quote, collateral: Collateral) -> tuple[Level, Level]:
    """Return the level of a TD's platform, the TDX module taken into account, and that of its quoting enclave.

    Args:
        quote: of a TD, verified.
        collateral: for its platform, verified.

    Raises:
        LookupError, TypeError, ValueError: the collateral is of another form than is known, or a part meets no level.
        InvalidFormat: a status that is not known, or "Revoked".
    """
    info, identity = json.loads(collateral.tcb_info), json.loads(collateral.qe_identity)
    platform = _first(level for level in info["tcbLevels"] if meets(quote, level["tcb"]))
    svn = quote.octets("tee_tcb_svn")
    if svn[1]:
        (module,) = [each for each in info["tdxModuleIdentities"] if each["id"] == f"TDX_{svn[1]:02X}"]
        platform = _both(platform, _first(_isv_levels(module, svn[0])))
    isv_svn = quote.qe_report["isv_svn"]
    assert isinstance(isv_svn, int)
    return platform, _first(_isv_levels(identity, isv_svn))


def meets(quote: Quote, level: Mapping[str, Any]) -> bool:
    """Return whether a platform has at least every component of a level (`tcb` of TCB info)."""
    svn = quote.pck.cpu_svn
    if any(svn[index] < each["svn"] for index, each in enumerate(level["sgxtcbcomponents"])):
        return False
    if quote.pck.pce_svn < level["pcesvn"]:
        return False
    if quote.tee is not Tee.TDX:
        return True
    svn = quote.octets("tee_tcb_svn")
    needed = enumerate(level["tdxtcbcomponents"])
    return all(svn[index] >= each["svn"] for index, each in needed if index >= first_tdx(svn))


def first_tdx(svn: bytes) -> int:
    """Return which component of a TEE TCB SVN comes first: those of modules from 1.5 on are judged by an identity."""
    return 2 if svn[1] else 0


def _isv_levels(identity: Mapping[str, Any], svn: int) -> Any:
    return (level for level in identity["tcbLevels"] if svn >= level["tcb"]["isvsvn"])


def _first(levels: Any) -> Level:
    level = next(levels, None)
    if level is None:
        raise LookupError("no TCB level is met")
    return read_level(level)


def _both(one: Level, other: Level) -> Level:
    advisories = tuple(sorted({*one.advisories, *other.advisories}))
    return Level(worst([one.status, other.status]), min(one.date, other.date), advisories)
