"""Which TCB level an Intel platform meets, component by component: to explain a refusal, never to decide.

What decides is dcap-qvl (`intel.verify`). Source: Intel SGX and TDX Provisioning Certification Service, API version 4,
"Get TCB Info": the first level none of whose components is above the platform's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from confide.attestation.claims import Tcb, Tee
from confide.attestation.explain.document import Field, Flag, Group
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote
from confide.attestation.intel.tcb_levels import first_tdx, meets


def levels(quote: Quote, collateral: Collateral) -> tuple[Group, Tcb | None] | None:
    """Return the components of a platform's TCB beside those of the newest level, and the level that it meets.

    Args:
        quote: read, and not verified.
        collateral: for its platform, and verified.

    Returns:
        None where the TCB info is not of the form that is known. The level is None where it meets none.
    """
    try:
        info = json.loads(collateral.tcb_info)
        newest = info["tcbLevels"][0]["tcb"]
        components = (*_sgx(quote, newest), *_tdx(quote, newest))
        met = next((level for level in info["tcbLevels"] if meets(quote, level["tcb"])), None)
        return Group("tcb", "TCB components", components), None if met is None else _level(quote, met, info)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return None


def _sgx(quote: Quote, newest: Mapping[str, Any]) -> tuple[Field, ...]:
    fields = [
        _component(f"sgx.{index + 1:02d}", quote.pck.cpu_svn[index], each)
        for index, each in enumerate(newest["sgxtcbcomponents"])
        if quote.pck.cpu_svn[index] or each["svn"]
    ]
    return (*fields, _component("pce_svn", quote.pck.pce_svn, {"svn": newest["pcesvn"], "category": "PCE"}))


def _tdx(quote: Quote, newest: Mapping[str, Any]) -> tuple[Field, ...]:
    if quote.tee is not Tee.TDX:
        return ()
    svn = quote.octets("tee_tcb_svn")
    return tuple(
        _component(f"tdx.{index + 1:02d}", svn[index], each)
        for index, each in enumerate(newest["tdxtcbcomponents"])
        if index >= first_tdx(svn) and (svn[index] or each["svn"])
    )


def _component(name: str, has: int, needed: Mapping[str, Any]) -> Field:
    what = ": ".join(str(needed[key])[:60] for key in ("category", "type") if needed.get(key))
    behind = Flag("behind", has < needed["svn"], f"the newest level has {int(needed['svn'])}")
    meaning = f"{what or 'not named by Intel'}; newest level: {int(needed['svn'])}"
    return Field(name, has, meaning, (behind,) if behind.set else ())


def _level(quote: Quote, level: Mapping[str, Any], info: Mapping[str, Any]) -> Tcb:
    return Tcb(
        status=str(level["tcbStatus"]),
        advisories=tuple(sorted(map(str, level.get("advisoryIDs", ())))),
        date=int(datetime.fromisoformat(level["tcbDate"]).timestamp()),
        evaluation=int(info["tcbEvaluationDataNumber"]),
        smt=quote.pck.smt,
        dynamic_platform=quote.pck.dynamic_platform,
        cached_keys=quote.pck.cached_keys,
    )
