"""Explanations: every field is there, and the steps say what really happened."""

from __future__ import annotations

import dataclasses
import re

import pytest

from confide.attestation.amd.report import KNOWN_POLICY, LAYOUT, PlatformBit, PolicyBit, SigningKey
from confide.attestation.amd.verify import verify_report
from confide.attestation.azure.verify import verify_azure
from confide.attestation.claims import Tcb, Tee
from confide.attestation.explain import flags, steps
from confide.attestation.explain.document import State
from confide.attestation.explain.examine import examine
from confide.attestation.explain.tcb import page_of, tcb_state
from confide.attestation.explain.verdict import judge
from confide.attestation.given import GivenEndorsements
from confide.attestation.intel.quote import parse_quote
from confide.attestation.intel.sigstruct import verify_sigstruct
from confide.attestation.intel.verify import verify_quote
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.attestation.ratls.verify import verify_ratls
from confide.attestation.recognize.recognize import recognize
from confide.attestation.requirements import STATUSES
from confide.attestation.trust import HardwareTrust
from confide.errors import CollateralUnavailable, EvidenceRefused, PlatformRefused

from .amd import synthetic as amd
from .intel import synthetic as intel

NOW = 1_800_000_000
DAY = 24 * 3600


@pytest.fixture(scope="session")
def authority():
    return intel.Authority()


@pytest.fixture(scope="session")
def machine():
    return amd.Machine(amd.Authority(), amd.Product.MILAN)


def look(data, authority, now=NOW, **members):
    collaterals = (authority.collateral("TDX", **members), authority.collateral("SGX"))
    return examine(recognize(data), HardwareTrust(GivenEndorsements(collaterals), authority.root_der), now)


def look_at_report(machine, now=NOW, **changed):
    key, chain = machine.endorsement(), (machine.intermediate, machine.root)
    given = GivenEndorsements(keys=(key,), chain=chain, crls=changed.pop("crls", ()))
    return examine(
        recognize(machine.report()), HardwareTrust(given, amd_roots=machine.roots()), now, **changed
    )


def states(result, evidence):
    (found,) = [each for each in result.verifications if each.evidence == evidence]
    return "".join({"passed": "+", "failed": "!", "not reached": "."}[step.state] for step in found.steps)


@pytest.mark.parametrize(
    ("texts", "verifier"),
    [
        (steps.QUOTE, verify_quote),
        (steps.COLLATERAL, verify_collateral),
        (steps.REPORT, verify_report),
        (steps.AZURE, verify_azure),
        (steps.RATLS, verify_ratls),
        (steps.SIGSTRUCT, verify_sigstruct),
        (steps.VERDICT, judge),
    ],
)
def test_every_step_of_a_verifier_has_its_line(texts, verifier):
    numbers = re.findall(r"^ *(\d+)\. ", verifier.__doc__, re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, len(texts) + 1))


@pytest.mark.parametrize(("version", "body_type"), [(3, 1), (4, 2), (5, 3), (5, 4)])
def test_every_field_of_a_quote_is_shown(authority, version, body_type):
    raw = intel.Machine(authority).quote(version, body_type)
    shown = {field.name: field for group in look(raw, authority).groups for field in group.fields}
    quote = parse_quote(raw)
    assert set(quote.body) | set(quote.header) <= set(shown)
    assert all(field.meaning for field in shown.values() if field.name not in quote.body or body_type < 4)


def test_every_field_of_a_report_is_shown(machine):
    shown = {field.name for group in look_at_report(machine).groups for field in group.fields}
    split = {f"{name}_{part}" for name in ("current", "committed") for part in ("build", "minor", "major")}
    assert {field.name for field in LAYOUT.fields} - split <= shown
    assert {"current_version", "committed_version", "reported.microcode", "provider"} <= shown


def test_every_known_flag_has_a_name():
    assert sum(1 << bit for bit in flags.GUEST_POLICY) == KNOWN_POLICY >> 16 << 16
    for enum, known in ((PolicyBit, flags.GUEST_POLICY), (PlatformBit, flags.PLATFORM_INFO)):
        for bit in enum:
            assert bit.bit_length() - 1 in known
    unknown = flags.decode(1 << 63, flags.GUEST_POLICY)
    assert [(flag.name, flag.set) for flag in unknown] == [("bit 63", True)]


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_a_meaning(status):
    tcb = Tcb(status, ("INTEL-SA-00615", "INTEL-SA-99999", "INTEL-DOC-10000"), smt=True, cached_keys=True)
    about = {each.about: each for each in tcb_state(Tee.SGX, tcb).advice}
    assert set(about) == {status, *tcb.advisories, "hyperthreads", "cached keys"}
    assert all(each.meaning and each.platform for each in about.values())
    assert (status in about[status].policy) == (status != "UpToDate")
    assert 'advisories = ["INTEL-SA-99999"]' in about["INTEL-SA-99999"].policy


def test_pages_of_advisories():
    assert page_of("INTEL-SA-00615").endswith("/intel-sa-00615.html")
    assert page_of("INTEL-DOC-10000").endswith("/INTEL-DOC-10000")


# -- Steps


def test_all_steps_of_good_evidence(authority, machine):
    result = look(intel.Machine(authority).quote(), authority)
    assert result.error is None
    assert [each.evidence for each in result.verifications] == ["quote", "Intel collateral"]
    assert states(result, "quote") == states(result, "Intel collateral") == "++++++"
    assert states(look_at_report(machine), "SNP report") == "+++++++++"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda quote: quote + b"\1", "!....."),
        (lambda quote: quote[:-1], "!....."),
        (lambda quote: quote[:100] + bytes([quote[100] ^ 1]) + quote[101:], "++!..."),
    ],
)
def test_steps_of_a_quote_that_was_changed(authority, change, expected):
    result = look(change(intel.Machine(authority).quote()), authority)
    assert isinstance(result.error, EvidenceRefused)
    assert states(result, "quote") == expected


def test_steps_where_the_collateral_has_expired(authority):
    result = look(intel.Machine(authority).quote(), authority, NOW + 31 * DAY)
    assert isinstance(result.error, CollateralUnavailable)
    assert (states(result, "quote"), states(result, "Intel collateral")) == ("+!....", "+++++!")
    assert not all(part.valid for part in result.validity)
    assert result.tcb is not None
    assert not result.tcb.verified


def test_steps_where_the_platform_is_older_than_every_level(authority):
    newer = authority.tcb_info("TDX", tcbLevels=[intel.level(sgx=9)])
    result = look(intel.Machine(authority).quote(), authority, tcb_info=newer)
    assert states(result, "quote") == "+++!.."
    behind = [
        field for group in result.groups if group.name == "tcb" for field in group.fields if field.flags
    ]
    assert len(behind) == 16
    assert result.tcb is None


def test_steps_where_a_certificate_is_revoked(authority):
    """dcap-qvl looks at that before it looks at all signatures: nothing is said of step 3."""
    machine = intel.Machine(authority)
    crl = intel.crl(authority.platform_ca, [machine.pck])
    result = look(machine.quote(), authority, pck_crl=crl)
    assert states(result, "quote") == "++.!.."
    assert "revoked" in str(result.error)


def test_steps_of_debug_evidence(authority, machine):
    result = look(intel.Machine(authority).quote(3, 1, body={"attributes": b"\x07" + bytes(15)}), authority)
    assert (states(result, "quote"), result.debug) == ("++++!.", True)
    assert result.tcb.status == "UpToDate"
    verdict = judge(result, bound=False)
    assert verdict.verification.steps[2].state is State.FAILED
    assert verdict.verification.steps[0].state is State.PASSED
    debugged = amd.Machine(machine.authority, machine.product)
    debugged.fields["policy"] = 0x30000 | PolicyBit.DEBUG
    result = look_at_report(debugged)
    assert (result.error, result.debug) == (None, True)
    assert isinstance(judge(result, bound=False).error, EvidenceRefused)


def test_a_td_in_debug_mode(authority):
    attributes = (intel.SEPT_VE_DISABLE | 1).to_bytes(8, "little")
    result = look(intel.Machine(authority).quote(body={"td_attributes": attributes}), authority)
    assert result.debug
    assert isinstance(judge(result, bound=False, accepted=STATUSES).error, EvidenceRefused)


def test_no_endorsements_at_all(authority, machine):
    nothing = HardwareTrust(GivenEndorsements())
    result = examine(recognize(intel.Machine(authority).quote()), nothing, NOW)
    assert isinstance(result.error, CollateralUnavailable)
    assert states(result, "quote") == "+!...."
    assert "50806F000000" in result.needed
    result = examine(recognize(machine.report()), nothing, NOW)
    assert isinstance(result.error, CollateralUnavailable)
    assert states(result, "SNP report") == "+!......."
    assert "kdsintf.amd.com/vcek/v1/Milan/" in result.source


def test_revocation_of_amd_is_checked_unless_that_is_said(machine):
    product = machine.product
    result = look_at_report(machine)
    assert isinstance(result.error, CollateralUnavailable)
    assert "CRL is missing" in str(result.error)
    assert result.platform is None
    result = look_at_report(machine, revocation_unchecked=True)
    assert result.error is None
    assert any("revocation is not checked" in note for note in result.notes)
    result = look_at_report(machine, crls=(machine.authority.crl(product),))
    assert result.error is None
    assert not any("revocation" in note for note in result.notes)
    revoked = machine.authority.crl(product, [machine.intermediate.serial_number])
    result = look_at_report(machine, crls=(revoked,))
    assert states(result, "SNP report") == "+++!....."
    result = look_at_report(machine, NOW + 31 * DAY, crls=(machine.authority.crl(product),))
    assert isinstance(result.error, CollateralUnavailable)
    assert states(result, "SNP report") == "+++!....."


def test_the_right_one_of_several_endorsement_keys(machine):
    other = amd.Machine(machine.authority, machine.product)
    other.hardware_id = bytes(range(2, 66))
    keys = (other.endorsement(), machine.endorsement())
    crl = machine.authority.crl(machine.product)
    given = GivenEndorsements(keys=keys, chain=(machine.intermediate, machine.root), crls=(crl,))
    result = examine(recognize(machine.report()), HardwareTrust(given, amd_roots=machine.roots()), NOW)
    assert result.error is None


@pytest.mark.parametrize("hidden", [True, False])
def test_the_right_one_of_a_chips_and_clouds_keys_of_one_tcb(machine, hidden):
    """Hosts pass along what they have: a VCEK's certificate, a VLEK's, another cloud's VLEK's."""
    kinds = (SigningKey.VCEK, SigningKey.VLEK, SigningKey.VLEK)
    chips = [amd.Machine(machine.authority, machine.product, kind) for kind in kinds]
    for chip in chips:
        chip.fields["chip_id"] = bytes(64) if hidden else chips[0].hardware_id
    given = GivenEndorsements(keys=tuple(chip.endorsement() for chip in chips))
    for chip in chips:
        trust = HardwareTrust(
            dataclasses.replace(given, chain=(chip.intermediate, chip.root)), amd_roots=chip.roots()
        )
        assert examine(recognize(chip.report()), trust, NOW, revocation_unchecked=True).error is None


# -- Verdict


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_accepted_only_if_that_is_said(authority, status):
    info = authority.tcb_info("TDX", tcbLevels=[intel.level(status, advisories=["INTEL-SA-00615"])])
    result = look(intel.Machine(authority).quote(), authority, tcb_info=info)
    error = judge(result, bound=False).error
    if status == "UpToDate":
        assert error is None
        return
    assert isinstance(error, PlatformRefused)
    assert f"--accept-status {status}" in error.__notes__[0]
    assert judge(result, bound=False, accepted=(status,)).error is None
    others = [each for each in STATUSES if each != status]
    assert isinstance(judge(result, bound=False, accepted=others).error, PlatformRefused)


def test_a_policy_is_asked_last_and_decides_on_the_status(authority):
    info = authority.tcb_info("TDX", tcbLevels=[intel.level("OutOfDate")])
    result = look(intel.Machine(authority).quote(), authority, tcb_info=info)
    assert judge(result, bound=False, policy=lambda _: None).error is None

    def refuse(_):
        raise PlatformRefused("no")

    verdict = judge(result, bound=False, accepted=("OutOfDate",), policy=refuse)
    assert verdict.verification.steps[4].state is State.FAILED
    bad = dataclasses.replace(verdict, error=None)
    assert bad.verification == verdict.verification


def test_a_policy_is_not_asked_of_what_is_not_genuine(authority):
    result = look(intel.Machine(authority).quote()[:-1], authority)

    def never(_):
        raise AssertionError

    assert isinstance(judge(result, bound=False, policy=never).error, EvidenceRefused)
