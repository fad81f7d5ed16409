"""docs/attestation.md says what the code does: steps, statuses, advisories, fields of a policy, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from confide.attestation import simulated, verify
from confide.attestation.amd.verify import verify_report
from confide.attestation.appraise import appraise
from confide.attestation.azure.verify import verify_azure
from confide.attestation.claims import Tee
from confide.attestation.explain import steps, tcb
from confide.attestation.explain.verdict import judge
from confide.attestation.intel.event_log import check_event_log
from confide.attestation.intel.sigstruct import verify_sigstruct
from confide.attestation.intel.verify import verify_quote
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.attestation.ratls.verify import verify_ratls
from confide.attestation.requirements import PlatformRequirements
from confide.attestation.tpm.verify import verify_tpm
from confide.errors import CollateralUnavailable, MeasurementRefused, PlatformRefused

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "attestation.md").read_text(encoding="utf-8")
STEPS = {
    "SGX quote, TDX quote": (steps.QUOTE, verify_quote),
    "Intel collateral": (steps.COLLATERAL, verify_collateral),
    "TDX event log": (steps.EVENT_LOG, check_event_log),
    "SNP report": (steps.REPORT, verify_report),
    "Azure evidence": (steps.AZURE, verify_azure),
    "TPM evidence": (None, verify_tpm),
    "RA-TLS certificate": (steps.RATLS, verify_ratls),
    "SIGSTRUCT": (steps.SIGSTRUCT, verify_sigstruct),
    "verdict": (steps.VERDICT, judge),
    "platform": (None, appraise),
    "The attestation at a broker": (None, verify.verify),
    "simulated evidence": (None, simulated.verify_simulated),
}


def rows(title: str) -> list[list[str]]:
    """Return the rows of the first table behind a heading, without its own heading."""
    (section,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    lines = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("title", STEPS)
def test_the_steps_are_those_of_the_code(title):
    texts, verifier = STEPS[title]
    told = rows(title)
    numbers = [int(row[0]) for row in told]
    assert numbers == list(range(1, len(told) + 1))
    documented = re.findall(r"^    (\d+)\. ", verifier.__doc__, re.MULTILINE)
    assert numbers == list(map(int, documented))
    if texts is not None:
        assert [row[1] for row in told] == list(texts)


def test_every_table_of_steps_is_in_the_document():
    tables = {value for name, value in vars(steps).items() if name.isupper() and isinstance(value, tuple)}
    assert tables == {texts for texts, _ in STEPS.values() if texts is not None}
    assert len(re.findall(r"^\| step \|", TEXT, re.MULTILINE)) == len(STEPS)


def test_every_status_and_advisory_is_explained_and_no_other():
    assert [row[0].strip("`") for row in rows("TCB statuses")] == list(tcb.STATUSES)
    assert set(re.findall(r"^\| `(INTEL-[A-Z]+-\d+)`", TEXT, re.MULTILINE)) == set(tcb._ADVISORIES)


def test_every_field_of_a_policy_is_explained_and_no_other():
    named = [name for row in rows("Write the policy") for name in re.findall(r"^`(\w+)`", row[0])]
    assert sorted(named) == sorted(PlatformRequirements.model_fields)


def test_every_tee_is_in_the_first_table():
    named = {name.strip("`") for _, name, *_ in rows("Which hardware gives what")}
    assert named == {tee.value for tee in Tee}


def test_exit_codes():
    told = [int(row[0]) for row in rows("See that it works")]
    assert told == [0, 67, 76, 85, 86, 97, 98]
    named = (CollateralUnavailable, MeasurementRefused, PlatformRefused)
    assert [each.exit_code for each in named] == [76, 86, 97]


def test_links_within_lead_to_headings():
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert target in headings, target
