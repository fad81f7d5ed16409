"""Quotes of TDs with a paravisor, which have no attributes: all that is demanded of others is demanded of them."""

from __future__ import annotations

import dataclasses

import pytest

from confide.attestation.appraise import appraise
from confide.attestation.claims import Tee
from confide.attestation.intel.quote import parse_quote
from confide.attestation.intel.tcb import tcb_of_levels
from confide.attestation.intel.tcb_levels import levels_met
from confide.attestation.intel.verify import verify_quote
from confide.attestation.requirements import PlatformRequirements
from confide.errors import CollateralUnavailable, EvidenceRefused, PlatformRefused

from .synthetic import (
    DAY,
    MODULE_SIGNER,
    NOW,
    Authority,
    Machine,
    crl,
    isv_level,
    level,
    sgx_extension,
)

NONE = bytes(8)


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def machine(authority):
    return Machine(authority)


def check(machine, quote=None, collateral=None, *, now=NOW, paravisor=True):
    return verify_quote(
        quote or machine.quote(body={"td_attributes": NONE}),
        collateral or machine.authority.collateral(),
        now,
        root_der=machine.authority.root_der,
        paravisor=paravisor,
    )


def module(*levels, **changes):
    identity = {"mrsigner": MODULE_SIGNER.hex(), "attributes": "00" * 8, "attributesMask": "FF" * 8}
    return {"tdxModuleIdentities": [{"id": "TDX_01", **identity, **changes, "tcbLevels": list(levels)}]}


def test_it_verifies_where_a_paravisor_is_expected_and_nowhere_else(machine):
    platform = check(machine).platform
    assert platform.registers["td_attributes"] == "00" * 8
    assert (platform.tcb.status, platform.debug, platform.expires) == ("UpToDate", False, NOW + 30 * DAY)
    with pytest.raises(EvidenceRefused, match="no SEPT_VE_DISABLE") as caught:
        check(machine, paravisor=False)
    assert caught.value.step == 5


def test_a_policy_must_list_the_attributes(machine):
    platform = dataclasses.replace(
        check(machine).platform,
        tcb=dataclasses.replace(
            check(machine).platform.tcb, smt=False, dynamic_platform=False, cached_keys=False
        ),
    )
    appraise(Tee.AZURE_TDX, platform, PlatformRequirements(registers={"td_attributes": ["00" * 8]}), NOW)
    with pytest.raises(PlatformRefused, match="does not list td_attributes"):
        appraise(Tee.AZURE_TDX, platform, PlatformRequirements(), NOW)


OLD = NOW - 500 * DAY
LEVELS = {
    "up to date": {},
    "platform of an older level": {
        "tcbLevels": [
            level(sgx=9),
            level("OutOfDate", sgx=5, tdx=(9, 9, 5), date=OLD, advisories=["INTEL-SA-1"]),
        ]
    },
    "module of an older level": module(
        isv_level(svn=9), isv_level("OutOfDate", svn=4, date=OLD, advisories=["INTEL-SA-2"])
    ),
    "both": {
        "tcbLevels": [level(pce=99), level("ConfigurationNeeded", advisories=["INTEL-SA-3", "INTEL-SA-2"])],
        **module(isv_level("OutOfDate", svn=5, advisories=["INTEL-SA-2"])),
    },
    "hardening": {"tcbLevels": [level("SWHardeningNeeded", advisories=["INTEL-SA-4"])]},
}
ENCLAVES = {
    "up to date": {},
    "older": {
        "tcbLevels": [isv_level(svn=6), isv_level("OutOfDate", svn=5, date=OLD, advisories=["INTEL-SA-5"])]
    },
    "of another evaluation": {"tcbEvaluationDataNumber": 17},
}


@pytest.mark.parametrize("enclave", ENCLAVES)
@pytest.mark.parametrize("platform", LEVELS)
def test_its_state_is_what_dcap_qvl_says_of_the_same_machine(authority, machine, platform, enclave):
    collateral = authority.collateral(
        tcb_info=authority.tcb_info("TDX", **LEVELS[platform]),
        qe_identity=authority.qe_identity("TDX", **ENCLAVES[enclave]),
    )
    said = check(machine, machine.quote(), collateral).platform
    assert check(machine, collateral=collateral).platform.tcb == said.tcb


def test_its_state_is_what_dcap_qvl_says_of_a_real_machine(tdx):
    quote = parse_quote(tdx.raw)
    found = tcb_of_levels(levels_met(quote, tdx.collateral), tdx.collateral.evaluation, quote.pck)
    assert found == verify_quote(tdx.raw, tdx.collateral, tdx.now).platform.tcb


COLLATERALS = {
    "platform below every level": ({"tcb_info": {"tcbLevels": [level(sgx=9)]}}, "older than every"),
    "module below every level": ({"tcb_info": module(isv_level(svn=9))}, "module"),
    "module of no identity": ({"tcb_info": module(isv_level(), id="TDX_02")}, "does not know this version"),
    "module of another signer": ({"tcb_info": module(isv_level(), mrsigner="ab" * 48)}, "signer"),
    "platform revoked": ({"tcb_info": {"tcbLevels": [level("Revoked")]}}, "revoked"),
    "module revoked": ({"tcb_info": module(isv_level("Revoked"))}, "revoked"),
    "enclave revoked": ({"qe_identity": {"tcbLevels": [isv_level("Revoked")]}}, "revoked"),
    "enclave below every level": ({"qe_identity": {"tcbLevels": [isv_level(svn=6)]}}, "older than every"),
    "enclave of another signer": ({"qe_identity": {"mrsigner": "ab" * 32}}, "signer"),
    "enclave of another product": ({"qe_identity": {"isvprodid": 9}}, "product"),
    "status that is not known": (
        {"tcb_info": {"tcbLevels": [level("Fine")]}},
        "TCB info is of a form that is not known",
    ),
    "enclave of a status that is not known": (
        {"qe_identity": {"tcbLevels": [isv_level("Fine")]}},
        "QE identity is of a form that is not known",
    ),
}


@pytest.mark.parametrize("case", COLLATERALS)
def test_what_intel_objects_to(authority, machine, case):
    changes, reason = COLLATERALS[case]
    made = {
        "tcb_info": authority.tcb_info("TDX", **changes.get("tcb_info", {})),
        "qe_identity": authority.qe_identity("TDX", **changes.get("qe_identity", {})),
    }
    with pytest.raises(EvidenceRefused, match=reason):
        check(machine, collateral=authority.collateral(**made))


QUOTES = {
    "debug": {"body": {"td_attributes": b"\1" + bytes(7)}},
    "any other attribute": {"body": {"td_attributes": b"\0\0\0\x40" + bytes(4)}},
    "a debug enclave that quotes": {
        "body": {"td_attributes": NONE},
        "qe": {"attributes": b"\x13" + bytes(15)},
    },
    "an enclave that vouches for another key": {
        "body": {"td_attributes": NONE},
        "qe": {"report_data": bytes(64)},
    },
    "version 1.5": {"version": 5, "body_type": 3, "body": {"td_attributes": NONE}},
    "with a service TD": {
        "version": 5,
        "body_type": 3,
        "body": {"td_attributes": NONE, "mrservicetd": b"S" * 48},
    },
}


@pytest.mark.parametrize("case", QUOTES)
def test_quotes_that_are_refused(machine, case):
    with pytest.raises(EvidenceRefused):
        check(machine, machine.quote(**QUOTES[case]))


def test_other_platforms_roots_and_times(authority, machine):
    quote = machine.quote(body={"td_attributes": NONE})
    revoked = authority.collateral(pck_crl=crl(authority.platform_ca, [machine.pck]))
    with pytest.raises(EvidenceRefused, match="revoked"):
        check(machine, quote, revoked)
    expired = Machine(authority, until=NOW - DAY)
    with pytest.raises(EvidenceRefused, match="expired"):
        check(expired)
    with pytest.raises(EvidenceRefused):
        check(Machine(Authority()), quote)
    with pytest.raises(CollateralUnavailable):
        check(machine, quote, now=NOW + 31 * DAY)
    with pytest.raises(CollateralUnavailable):
        check(Machine(authority, extension=sgx_extension(fmspc=b"other1")))


@pytest.mark.exhaustive
def test_every_flipped_bit(authority, machine):
    """dcap-qvl looks at attributes last: were it otherwise in another version of it, this would show."""
    quote, collateral = machine.quote(body={"td_attributes": NONE}), authority.collateral()
    accepted = []
    for at in range(len(quote)):
        changed = bytearray(quote)
        changed[at] ^= 1 << at % 8
        try:
            check(machine, bytes(changed), collateral)
        except (EvidenceRefused, CollateralUnavailable):
            continue
        accepted.append(at)
    root = quote.rindex(b"-----BEGIN CERTIFICATE")  # the pinned one counts instead
    assert {quote[at : at + 1] for at in accepted if at < root} <= {b"\n"}  # white space of PEM
    assert min(accepted) > quote.index(b"-----BEGIN CERTIFICATE")
