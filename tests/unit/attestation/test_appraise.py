"""A verified platform under a policy's requirements: each step, and that silence means strict."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.appraise import DAY_S, appraise
from confide.attestation.claims import Platform, Tcb, Tee
from confide.attestation.requirements import STATUSES, PlatformRequirements
from confide.errors import PlatformRefused

NOW = 1_800_000_000
H48 = "ab" * 48

TDX = Platform(
    registers=dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2"), H48) | {"td_attributes": "0000001000000000"},
    numbers={},
    hardware_ids=("11" * 16,),
    tcb=Tcb(status="UpToDate", date=NOW - 10 * DAY_S, evaluation=17, smt=False),
    debug=False,
    expires=NOW + 1,
)
SNP = Platform(
    registers={"measurement": H48, "host_data": "00" * 32},
    numbers={"vmpl": 0, "policy": 1 << 17, "guest_svn": 0, "platform_info": 1 << 5},
    hardware_ids=("22" * 64,),
    tcb=Tcb(
        product="Genoa",
        components={"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219},
        smt=False,
    ),
    debug=False,
    expires=NOW + 1,
)
TDX_DEMANDED = {"registers": {name: [H48] for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2")}}
SNP_DEMANDED = {
    "registers": {"measurement": [H48]},
    "products": ["Genoa"],
    "minimum_tcb": {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 219},
}


def demanded(base, **changed):
    return PlatformRequirements(**{**base, **changed})


def with_tcb(platform, **changed):
    return replace(platform, tcb=replace(platform.tcb, **changed))


def with_numbers(**changed):
    return replace(SNP, numbers={**SNP.numbers, **changed})


def accepted(tee, platform, requirements):
    assert requirements.faults(tee) == []
    appraise(tee, platform, requirements, NOW)


def refused(step, tee, platform, requirements):
    assert requirements.faults(tee) == []
    with pytest.raises(PlatformRefused, match=f"step {step}:"):
        appraise(tee, platform, requirements, NOW)


def test_what_is_demanded_is_accepted():
    accepted(Tee.TDX, TDX, demanded(TDX_DEMANDED))
    accepted(Tee.SNP, SNP, demanded(SNP_DEMANDED))


@pytest.mark.parametrize(
    ("tee", "platform", "base"), [(Tee.TDX, TDX, TDX_DEMANDED), (Tee.SNP, SNP, SNP_DEMANDED)]
)
def test_debug_and_expiry_are_refused(tee, platform, base):
    refused(1, tee, replace(platform, debug=True), demanded(base))
    refused(2, tee, replace(platform, expires=NOW), demanded(base))


def test_hardware_ids():
    accepted(Tee.TDX, TDX, demanded(TDX_DEMANDED, hardware_ids=["33" * 16, "11" * 16]))
    refused(3, Tee.TDX, TDX, demanded(TDX_DEMANDED, hardware_ids=["33" * 16]))
    refused(3, Tee.SNP, replace(SNP, hardware_ids=()), demanded(SNP_DEMANDED, hardware_ids=["22" * 64]))


@pytest.mark.parametrize("name", ["mrtd", "rtmr0", "rtmr1", "rtmr2"])
def test_another_register(name):
    changed = replace(TDX, registers={**TDX.registers, name: "cd" * 48})
    refused(4, Tee.TDX, changed, demanded(TDX_DEMANDED))
    missing = {key: value for key, value in TDX.registers.items() if key != name}
    refused(4, Tee.TDX, replace(TDX, registers=missing), demanded(TDX_DEMANDED))


def test_sgx_product():
    sgx = replace(TDX, registers={"mrsigner": "aa" * 32}, numbers={"isv_prod_id": 3})
    accepted(Tee.SGX, sgx, PlatformRequirements(registers={"mrsigner": ["aa" * 32]}, isv_prod_id=3))
    refused(4, Tee.SGX, sgx, PlatformRequirements(isv_prod_id=4))


@pytest.mark.parametrize("status", [*STATUSES[1:], "", "Revoked", "uptodate"])
def test_other_statuses_are_refused_unless_named(status):
    refused(5, Tee.TDX, with_tcb(TDX, status=status), demanded(TDX_DEMANDED))


@pytest.mark.parametrize("status", ["OutOfDate", "OutOfDateConfigurationNeeded"])
def test_outdated_only_within_its_grace(status):
    outdated = with_tcb(TDX, status=status)
    accepted(Tee.TDX, outdated, demanded(TDX_DEMANDED, status=[status], grace_days=11))
    refused(5, Tee.TDX, outdated, demanded(TDX_DEMANDED, status=[status], grace_days=10))
    refused(5, Tee.TDX, with_tcb(outdated, date=None), demanded(TDX_DEMANDED, status=[status], grace_days=11))
    assert demanded(TDX_DEMANDED, status=[status]).faults(Tee.TDX)


def test_every_advisory_must_be_accepted():
    open_to = with_tcb(TDX, status="SWHardeningNeeded", advisories=("INTEL-SA-00289", "INTEL-SA-00615"))
    status = {"status": ["SWHardeningNeeded"]}
    accepted(
        Tee.TDX, open_to, demanded(TDX_DEMANDED, advisories=["INTEL-SA-00615", "INTEL-SA-00289"], **status)
    )
    refused(6, Tee.TDX, open_to, demanded(TDX_DEMANDED, advisories=["INTEL-SA-00615"], **status))
    refused(6, Tee.TDX, open_to, demanded(TDX_DEMANDED, **status))


def test_evaluation_number():
    accepted(Tee.TDX, TDX, demanded(TDX_DEMANDED, minimum_evaluation=17))
    refused(7, Tee.TDX, TDX, demanded(TDX_DEMANDED, minimum_evaluation=18))


@pytest.mark.parametrize("name", ["bootloader", "snp", "microcode"])
def test_tcb_is_compared_component_by_component(name):
    higher = dict.fromkeys(SNP.tcb.components, 255)  # no sum and no order of components makes up for one
    refused(7, Tee.SNP, with_tcb(SNP, components={**higher, name: 3}), demanded(SNP_DEMANDED))
    without = {key: value for key, value in SNP.tcb.components.items() if key != name}
    refused(7, Tee.SNP, with_tcb(SNP, components=without), demanded(SNP_DEMANDED))


@pytest.mark.parametrize("product", ["Milan", "Turin", "", "genoa"])
def test_the_numbers_of_one_product_say_nothing_of_anothers(product):
    refused(7, Tee.SNP, with_tcb(SNP, product=product), demanded(SNP_DEMANDED))


def test_several_products():
    both = demanded(SNP_DEMANDED, products=["Milan", "Genoa"])
    accepted(Tee.SNP, SNP, both)
    accepted(Tee.SNP, with_tcb(SNP, product="Milan"), both)


def test_components_that_the_policy_does_not_name():
    turin = with_tcb(SNP, product="Turin", components={**SNP.tcb.components, "fmc": 1})
    refused(7, Tee.SNP, with_tcb(turin, product="Genoa"), demanded(SNP_DEMANDED))
    lowest = {**SNP_DEMANDED["minimum_tcb"], "fmc": 1}
    accepted(Tee.SNP, turin, demanded(SNP_DEMANDED, products=["Turin"], minimum_tcb=lowest))
    refused(
        7,
        Tee.SNP,
        with_tcb(SNP, product="Turin"),
        demanded(SNP_DEMANDED, products=["Turin"], minimum_tcb=lowest),
    )


@pytest.mark.parametrize(
    ("stated", "allowed"),
    [
        ("smt", "allow_smt"),
        ("dynamic_platform", "allow_dynamic_platform"),
        ("cached_keys", "allow_cached_keys"),
    ],
)
def test_settings_need_a_word(stated, allowed):
    platform = with_tcb(TDX, **{stated: True})
    refused(8, Tee.TDX, platform, demanded(TDX_DEMANDED))
    accepted(Tee.TDX, platform, demanded(TDX_DEMANDED, **{allowed: True}))
    silent = with_tcb(TDX, **{stated: None})
    if stated == "smt":  # a platform of the processor CA: it may well be on
        refused(8, Tee.TDX, silent, demanded(TDX_DEMANDED))
        accepted(Tee.TDX, silent, demanded(TDX_DEMANDED, allow_smt=True))
    else:
        accepted(Tee.TDX, silent, demanded(TDX_DEMANDED))


def test_a_tpm_knows_nothing_of_hyperthreads():
    tpm = replace(TDX, registers={"pcr4": "aa" * 32, "pcr8": "00" * 32, "pcr9": "aa" * 32}, tcb=Tcb())
    accepted(
        Tee.TPM, tpm, PlatformRequirements(registers={name: [value] for name, value in tpm.registers.items()})
    )


@pytest.mark.parametrize(("bit", "allowed"), [(16, "allow_smt"), (18, "allow_migration"), (21, "allow_cxl")])
def test_what_the_guest_policy_admits_needs_a_word(bit, allowed):
    platform = with_numbers(policy=1 << 17 | 1 << bit)
    refused(9, Tee.SNP, platform, demanded(SNP_DEMANDED))
    accepted(Tee.SNP, platform, demanded(SNP_DEMANDED, **{allowed: True}))


def test_memory_that_was_not_checked_for_aliases_needs_a_word():
    unchecked = with_numbers(platform_info=0xFFFF & ~(1 << 5))
    refused(8, Tee.SNP, unchecked, demanded(SNP_DEMANDED))
    accepted(Tee.SNP, unchecked, demanded(SNP_DEMANDED, allow_unchecked_aliases=True))


def test_mitigations_must_be_in_force_at_the_launch_and_now():
    both = demanded(SNP_DEMANDED, mitigations=0b101)
    accepted(Tee.SNP, with_numbers(launch_mit_vector=0b111, current_mit_vector=0b101), both)
    refused(8, Tee.SNP, with_numbers(launch_mit_vector=0b001, current_mit_vector=0b111), both)
    refused(8, Tee.SNP, with_numbers(launch_mit_vector=0b111, current_mit_vector=0b100), both)
    refused(8, Tee.SNP, with_numbers(launch_mit_vector=0, current_mit_vector=0), both)  # before version 5
    refused(8, Tee.SNP, SNP, both)


def test_vmpl_and_restrictions():
    refused(9, Tee.SNP, with_numbers(vmpl=1), demanded(SNP_DEMANDED))
    accepted(Tee.SNP, with_numbers(vmpl=1), demanded(SNP_DEMANDED, highest_vmpl=1))
    refused(9, Tee.SNP, SNP, demanded(SNP_DEMANDED, guest_policy=["ciphertext-hiding"]))
    hiding = with_numbers(policy=1 << 17 | 1 << 24)
    accepted(Tee.SNP, hiding, demanded(SNP_DEMANDED, guest_policy=["ciphertext-hiding"]))


def test_a_td_whose_host_can_inject_exceptions():
    attributes = {**TDX.registers, "td_attributes": "00" * 8}
    refused(9, Tee.TDX, replace(TDX, registers=attributes), demanded(TDX_DEMANDED))
    named = {**TDX_DEMANDED["registers"], "td_attributes": ["00" * 8]}
    accepted(Tee.TDX, replace(TDX, registers=attributes), demanded(TDX_DEMANDED, registers=named))


@pytest.mark.parametrize(
    ("tee", "fields"),
    [
        (Tee.SIMULATED, {}),
        (Tee.TDX, {}),
        (Tee.SNP, {}),
        (Tee.AZURE_SNP, {}),
        (Tee.AZURE_TDX, {}),
        *[
            (Tee.TDX, {"registers": {n: v for n, v in TDX_DEMANDED["registers"].items() if n != left}})
            for left in ("mrtd", "rtmr0", "rtmr1", "rtmr2")
        ],
        (Tee.TDX, {**TDX_DEMANDED, "minimum_tcb": {"snp": 1}}),
        (Tee.TDX, {**TDX_DEMANDED, "isv_prod_id": 1}),
        (Tee.SNP, {**SNP_DEMANDED, "status": ["UpToDate"]}),
        (Tee.SNP, {**SNP_DEMANDED, "allow_cached_keys": False}),
        (Tee.SNP, {**SNP_DEMANDED, "products": []}),
        (Tee.SNP, {**SNP_DEMANDED, "products": ["Turin"]}),
        (Tee.SNP, {**SNP_DEMANDED, "products": ["Genoa", "Turin"]}),
        (Tee.SNP, {**SNP_DEMANDED, "minimum_tcb": {**SNP_DEMANDED["minimum_tcb"], "fmc": 0}}),
        (Tee.TDX, {**TDX_DEMANDED, "products": ["Genoa"]}),
        (Tee.TDX, {**TDX_DEMANDED, "mitigations": 1}),
        (Tee.TDX, {**TDX_DEMANDED, "allow_unchecked_aliases": True}),
        (Tee.SNP, {**SNP_DEMANDED, "minimum_tcb": {"snp": 1, "tee": 0, "bootloader": 1}}),
        (Tee.SNP, {**SNP_DEMANDED, "registers": {"measurement": [H48], "mrtd": [H48]}}),
        (Tee.AZURE_SNP, {**SNP_DEMANDED, "registers": {"measurement": [H48], "pcr4": ["aa" * 32]}}),
        (Tee.AZURE_SNP, {**SNP_DEMANDED, "registers": {"pcr4": ["aa" * 32], "pcr9": ["aa" * 32]}}),
        *[
            (Tee.TDX, {"registers": TDX_DEMANDED["registers"] | {zero: values}})
            for zero in ("mrtd", "rtmr0", "rtmr1", "rtmr2")
            for values in (["00" * 48], [H48, "00" * 48], ["00"])
        ],
        (Tee.SNP, {**SNP_DEMANDED, "registers": {"measurement": ["00" * 48]}}),
        (Tee.TPM, {"registers": {"pcr4": ["aa" * 32], "pcr9": ["aa" * 32]}}),
        (Tee.TPM, {"registers": {"pcr4": ["aa" * 32], "pcr11": ["aa" * 32]}}),
        (Tee.TPM, {"registers": {"pcr4": ["aa" * 32], "pcr8": ["00" * 32], "pcr9": ["00" * 32]}}),
        (Tee.SGX, {"highest_vmpl": 0}),
        (Tee.SGX, {"registers": {"mrenclave": ["aa" * 32]}}),  # named as the measurement, once
    ],
)
def test_requirements_that_demand_too_little_or_the_wrong_thing(tee, fields):
    assert PlatformRequirements(**fields).faults(tee)


@pytest.mark.parametrize(
    "kernel",
    [
        {
            "pcr8": ["00" * 32],
            "pcr9": ["aa" * 32],
        },  # no GRUB: the kernel's own stub measures the command line
        {"pcr11": ["aa" * 32], "pcr12": ["00" * 32], "pcr13": ["00" * 32]},
        {"pcr8": ["00" * 32], "pcr9": ["00" * 32], "pcr11": ["aa" * 32]}
        | {name: ["00" * 32] for name in ("pcr12", "pcr13")},
    ],
)
def test_registers_of_the_kernel(kernel):
    assert PlatformRequirements(registers={"pcr4": ["aa" * 32], **kernel}).faults(Tee.TPM) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"registers": {"mrtd": []}},
        {"registers": {"mrtd": ["AB"]}},
        {"registers": {"mrtd": ["abc"]}},
        {"registers": {"mrtd": "ab"}},
        {"hardware_ids": []},
        {"status": []},
        {"status": ["Revoked"]},
        {"advisories": ["all"]},
        {"minimum_tcb": {"ucode": 1}},
        {"minimum_tcb": {"snp": 256}},
        {"guest_policy": ["debug"]},
        {"products": ["Rome"]},
        {"mitigations": 0},
        {"mitigations": -1},
        {"grace_days": -1},
        {"allow_debug": True},
        {"allow_smt": 1},
    ],
)
def test_requirements_that_are_no_requirements(fields):
    with pytest.raises(ValueError, match="validation error"):
        PlatformRequirements(**fields)


@given(st.binary(min_size=48, max_size=48))
def test_no_other_measurement_is_accepted(value):
    changed = replace(SNP, registers={**SNP.registers, "measurement": value.hex()})
    if value.hex() != H48:
        refused(4, Tee.SNP, changed, demanded(SNP_DEMANDED))
