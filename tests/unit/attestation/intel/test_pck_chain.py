"""Quotes of platforms that Intel does not vouch for, told before anything is looked up for them."""

from __future__ import annotations

import dataclasses

import pytest

from confide.attestation.intel.pck_chain import check_pck_chain
from confide.attestation.intel.quote import parse_quote
from confide.errors import EvidenceRefused

from .synthetic import Authority, Machine, Signer, issue, pem, sgx_extension


@pytest.fixture(scope="module")
def intel():
    return Authority()


def refused(quote, authority):
    with pytest.raises(EvidenceRefused, match="not one that the pinned root vouches for") as caught:
        check_pck_chain(quote, root_der=authority.root_der)
    assert caught.value.step == 3


def test_real_platforms(each):
    check_pck_chain(parse_quote(each.raw))


def test_a_platform_of_this_authority(intel):
    check_pck_chain(parse_quote(Machine(intel).quote()), root_der=intel.root_der)


def test_a_platform_of_another_authority(intel):
    refused(parse_quote(Machine(Authority()).quote()), intel)


def test_a_platform_is_no_authority(intel):
    machine = Machine(intel)
    below = issue(
        "Intel SGX PCK Certificate", Signer(machine.pck.certificate, machine.pck.key), extra=[sgx_extension()]
    )
    quote = parse_quote(machine.quote())
    refused(dataclasses.replace(quote, pck_chain=pem(below.certificate, machine.pck.certificate)), intel)


def test_an_authority_that_is_none(intel):
    signer = issue("Intel SGX PCK Platform CA", intel.root)
    machine = Machine(intel, ca=signer)
    refused(parse_quote(machine.quote()), intel)


@pytest.mark.parametrize(
    "chain", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_no_chain(intel, chain):
    refused(dataclasses.replace(parse_quote(Machine(intel).quote()), pck_chain=chain), intel)


def test_a_chain_of_one(intel):
    machine = Machine(intel)
    refused(dataclasses.replace(parse_quote(machine.quote()), pck_chain=pem(machine.pck.certificate)), intel)
