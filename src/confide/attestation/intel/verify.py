"""Verification of Intel SGX and TDX quotes, on dcap-qvl. Pure: quote, collateral and `now` in, platform out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confide.attestation.claims import Platform, Tcb, Tee
from confide.attestation.intel import qvl
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.layouts import BODY_DESCRIPTOR, HEADER, SGX_REPORT
from confide.attestation.intel.paravisor import lacks_only_sept_ve_disable, verify_the_rest
from confide.attestation.intel.pck import Pck
from confide.attestation.intel.quote import Quote, parse_quote
from confide.attestation.intel.refusals import ATTRIBUTES, FORM, TCB, meaning
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.intel.tcb import tcb_of
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.attestation.layout import printable
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

SAME = 6
_REGISTERS = {
    Tee.SGX: ("mrenclave", "mrsigner", "config_id", "family_id", "ext_prod_id", "attributes", "misc_select"),
    Tee.TDX: (
        *("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrconfigid", "mrowner", "mrownerconfig"),
        *("mrseam", "mrsignerseam", "td_attributes", "xfam"),
    ),
}
_NUMBERS = {Tee.SGX: ("isv_prod_id", "isv_svn", "config_svn"), Tee.TDX: ()}
_WIDTHS = dict.fromkeys(("version", "attestation_key_type", "qe_svn", "pce_svn", "isv_prod_id", "isv_svn"), 2)
_WIDTHS |= {"tee_type": 4, "misc_select": 4, "vmid": 1}
"""Bytes of the numbers in dcap-qvl's claims."""
_FLAGS = {"True": True, "False": False, "Undefined": None}


@dataclass(frozen=True)
class VerifiedQuote:
    """A quote that was verified.

    Attributes:
        quote: what stands in it.
        platform: what it says of machine and workload, by the names that policies use.
    """

    quote: Quote
    platform: Platform


def verify_quote(
    data: bytes,
    collateral: Collateral,
    now: int,
    *,
    root_der: bytes | None = None,
    paravisor: bool = False,
) -> VerifiedQuote:
    """Verify a quote.

    1. It is a quote (`parse_quote`), with nothing behind its end: of SGX in version 3, of TDX in version 4 or 5.
       dcap-qvl does not verify the quotes of SGX in versions 4 and 5 that Intel defines.
    2. The collateral is for this TEE and kind of platform; it is Intel's and valid now (`verify_collateral`, which
       names steps of its own).
    3. The platform's certificate leads to the pinned root, and CRLs cover it; its key signed the quoting enclave's
       report, which is the enclave of the QE identity and vouches for the attestation key; that signed header and
       body; the TDX module is Intel's.
    4. No certificate and no TCB level is revoked; platform, TDX module and quoting enclave meet a TCB level that Intel
       lists. Whether its status is good enough is the policy's to say.
    5. It cannot be inspected, profiled or migrated from outside, and no service TD is bound to it; a TD has
       SEPT_VE_DISABLE set and no reserved attribute. One with a paravisor may have no attribute at all: see there.
    6. What was verified is what was read in step 1, field for field.

    Args:
        data: the quote; nothing in it is trusted.
        collateral: nothing in it is trusted.
        now: Unix seconds.
        root_der: certificate (DER) to lead to instead of Intel's, in tests.
        paravisor: whether the TD is one of Azure's, in which a paravisor runs.

    Raises:
        EvidenceRefused: names the step.
        CollateralUnavailable: step 2: it is for another platform, or not valid now; and what to do about it.
    """
    quote = parse_quote(data)
    if quote.tee is Tee.SGX and quote.version != 3:
        reason = (
            f"of version {quote.version}, which dcap-qvl does not verify: of SGX it verifies version 3 only"
        )
        raise _refused(quote, FORM, reason)
    _check_collateral(quote, collateral)
    verify_collateral(collateral, now, root_der=root_der)
    root = SGX_ROOT if root_der is None else root_der
    try:
        claims = qvl.verify(quote.raw, collateral.qvl, now, root)
    except qvl.QvlRefusal as refusal:
        if paravisor and lacks_only_sept_ve_disable(quote, str(refusal)):
            return _without_attributes(quote, collateral, root)
        raise _refused(quote, *meaning(str(refusal))) from None
    if quote.debug:
        raise _refused(quote, ATTRIBUTES, "it can be inspected from outside (debug)")
    try:
        _check_same(quote, claims)
        tcb, expires = tcb_of(claims, quote.pck), claims["earliest_expiration_date"]
    except InvalidFormat as error:
        raise _refused(quote, TCB, str(error)) from None
    except (LookupError, TypeError, ValueError):
        raise _refused(
            quote, SAME, "dcap-qvl states what it verified in another form than is known"
        ) from None
    return VerifiedQuote(quote, _platform(quote, tcb, min(expires, collateral.expires)))


def _without_attributes(quote: Quote, collateral: Collateral, root: bytes) -> VerifiedQuote:
    try:
        tcb, expires = verify_the_rest(quote, collateral, root)
    except InvalidFormat as error:
        raise _refused(quote, TCB, str(error)) from None
    except (LookupError, TypeError, ValueError):
        raise _refused(quote, TCB, "it meets no TCB level of the form that is known") from None
    return VerifiedQuote(quote, _platform(quote, tcb, min(expires, collateral.expires)))


def _check_collateral(quote: Quote, collateral: Collateral) -> None:
    if (collateral.tee, collateral.fmspc, collateral.ca) != (quote.tee, quote.fmspc, quote.ca):
        raise CollateralUnavailable(
            f"the collateral is for {collateral.tee.upper()} on {collateral.fmspc} ({collateral.ca} CA), the quote of "
            f"{quote.tee.upper()} on {quote.fmspc} ({quote.ca} CA); `confide collateral fetch` gets the one it needs"
        )
    if collateral.pce_id != quote.pck.pce_id:
        raise CollateralUnavailable(
            f"the collateral is for PCE {collateral.pce_id.hex()}, the quote of {quote.pck.pce_id.hex()}"
        )


def _check_same(quote: Quote, claims: Mapping[str, Any]) -> None:
    body_at = HEADER.size + (BODY_DESCRIPTOR.size if quote.version == 5 else 0)
    same = (
        quote.signed[: HEADER.size] == _encoded(claims["header"])
        and quote.signed[body_at:] == _encoded(claims["report"])
        and quote.qe_report == SGX_REPORT.read(_encoded(claims["qe"]["report"]))
        and quote.pck == _pck(quote.ca, claims["platform"]["pck"])
    )
    if not same:
        raise _refused(quote, SAME, "what was verified is not what was read")


def _encoded(value: Mapping[str, Any]) -> bytes:
    """Return the structure that a part of dcap-qvl's claims was read from: its members follow one another there."""
    parts = []
    for name, member in value.items():
        if isinstance(member, Mapping):
            parts.append(_encoded(member))
        elif isinstance(member, str):
            parts.append(bytes.fromhex(member))
        else:
            parts.append(member.to_bytes(_WIDTHS[name], "little"))
    return b"".join(parts)


def _pck(ca: str, claimed: Mapping[str, Any]) -> Pck:
    piid = claimed["platform_instance_id"]
    return Pck(
        ca=ca,
        fmspc=bytes(claimed["fmspc"]).hex().upper(),
        ppid=bytes(claimed["ppid"]),
        piid=None if piid is None else bytes(piid),
        cpu_svn=bytes(claimed["cpu_svn"]),
        pce_svn=claimed["pce_svn"],
        pce_id=bytes(claimed["pce_id"]),
        dynamic_platform=_FLAGS[claimed["dynamic_platform"]],
        cached_keys=_FLAGS[claimed["cached_keys"]],
        smt=_FLAGS[claimed["smt_enabled"]],
    )


def _platform(quote: Quote, tcb: Tcb, expires: int) -> Platform:
    shown = printable(quote.body)
    hardware_id = quote.pck.ppid if quote.pck.piid is None else quote.pck.piid
    return Platform(
        registers={name: str(shown[name]) for name in _REGISTERS[quote.tee]},
        numbers={name: int(shown[name]) for name in _NUMBERS[quote.tee]},
        hardware_ids=(hardware_id.hex(),),
        tcb=tcb,
        debug=quote.debug,
        expires=expires,
    )


def _refused(quote: Quote, step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(quote.name, step, reason)
