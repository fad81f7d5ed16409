"""The chain from hardware evidence to PCRs, with the vendor's verifier played."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import HardwareReport, read_hcl
from confide.attestation.azure.verify import Hardware, verify_azure
from confide.attestation.claims import Platform, Tcb
from confide.errors import EvidenceRefused

from .synthetic import PCRS, evidence, hcl_report, jwk, quote_message, runtime_json, sign

SNP, TDX = HardwareReport.SNP, HardwareReport.TDX
DATA = bytes(range(48))
PLATFORM = Platform(
    registers={"measurement": "ab" * 48},
    numbers={"vmpl": 0},
    hardware_ids=(),
    tcb=Tcb(),
    debug=False,
    expires=1,
)


def snp_report(runtime, rest=bytes(32)):
    return bytes(0x50) + hashlib.sha256(runtime).digest() + rest + bytes(1184 - 0x90)


def vendor(platform=PLATFORM):
    """Accepts any SNP report."""
    return lambda hcl: Hardware(platform, hcl.hardware_report[0x50:0x90])


class Machine:
    """Evidence of a VM, one part of which a test changes."""

    def __init__(self, ak):
        self.ak, self.runtime = ak, runtime_json(ak.public_key())
        self.hardware = None
        self.message, self.signature, self.pcrs = quote_message(DATA), None, PCRS
        self.version, self.kind = 1, SNP

    def evidence(self):
        report = hcl_report(self.hardware or snp_report(self.runtime), self.runtime, self.kind)
        signature = self.signature or sign(self.ak, self.message)
        return AzureEvidence.of(evidence(report, self.message, signature, self.pcrs, version=self.version))

    def verify(self, extra_data=DATA, verify_hardware=None, kind=SNP):
        return verify_azure(self.evidence(), kind, verify_hardware or vendor(), extra_data)

    def refused(self, step, reason, **arguments):
        with pytest.raises(EvidenceRefused, match=reason) as refused:
            self.verify(**arguments)
        assert refused.value.step == step


@pytest.fixture
def machine(ak):
    return Machine(ak)


def test_the_pcrs_are_registers_of_the_platform(machine):
    verified = machine.verify()
    assert verified.platform.registers == {
        "measurement": "ab" * 48,
        **{f"pcr{index}": value.hex() for index, value in enumerate(PCRS)},
    }
    assert verified.platform.numbers == PLATFORM.numbers
    assert verified.runtime.configuration == {"console-enabled": False, "secure-boot": True}
    assert "pcr0" not in PLATFORM.registers


def test_a_real_machine(real):
    verified = verify_azure(AzureEvidence.of(real), SNP, vendor(), b"challenge")
    assert verified.platform.registers["pcr4"] == real["tpm_quote"]["pcrs"][4]
    report = read_hcl(AzureEvidence.of(real).hcl_report).hardware_report
    assert report[0xC0:0xE0] == bytes(32), "HOST_DATA is not used on Azure"


@pytest.mark.parametrize(
    "data", [b"", b"challeng", b"challenge\0", b"Challenge", b"challenge".ljust(48, b"\0")]
)
def test_a_real_machine_asked_by_someone_else(real, data):
    with pytest.raises(EvidenceRefused) as refused:
        verify_azure(AzureEvidence.of(real), SNP, vendor(), data)
    assert refused.value.step == 8


def test_form_2_carries_the_data_twice(machine):
    machine.version = 2
    machine.runtime = runtime_json(machine.ak.public_key(), DATA.ljust(64, b"\0"))
    assert machine.verify()


@pytest.mark.parametrize(
    "user_data", [bytes(64), DATA[::-1].ljust(64, b"\0"), DATA.ljust(64, b"\1"), DATA[:47]]
)
def test_form_2_with_other_data(machine, user_data):
    machine.version = 2
    machine.runtime = runtime_json(machine.ak.public_key(), user_data)
    machine.refused(10, "user-data")


def test_hardware_of_another_kind(machine):
    machine.refused(2, "a report of SNP, not of TDX", kind=TDX)


def test_the_vendor_refuses(machine):
    def refuse(hcl):
        raise EvidenceRefused("SNP report", 3, "signature")

    with pytest.raises(EvidenceRefused, match="SNP report, step 3"):
        machine.verify(verify_hardware=refuse)


def test_nothing_of_the_runtime_is_read_before_the_hardware_vouches_for_it(machine):
    machine.runtime = b"not JSON"
    machine.hardware = snp_report(b"another")
    machine.refused(4, "another hash")


def test_hardware_of_another_machine(machine):
    machine.hardware = snp_report(runtime_json(machine.ak.public_key(), b"\1" * 64))
    machine.refused(4, "another hash")


@pytest.mark.parametrize("rest", [b"\1" + bytes(31), bytes(31) + b"\1"])
def test_more_report_data_than_the_hash(machine, rest):
    machine.hardware = snp_report(machine.runtime, rest)
    machine.refused(4, "another hash")


@pytest.mark.parametrize("vmpl", [1, 2, 3])
def test_a_report_that_the_guest_asked_for(machine, vmpl):
    platform = Platform(**{**PLATFORM.__dict__, "numbers": {"vmpl": vmpl}})
    machine.refused(4, "VMPL 0", verify_hardware=vendor(platform))


def test_a_runtime_without_a_key(machine):
    machine.runtime = runtime_json(None, keys=[])
    machine.refused(5, "HCLAkPub")


def test_another_key_in_the_runtime(machine, other_ak):
    machine.runtime = runtime_json(other_ak.public_key())
    machine.refused(6, "not signed")


def test_the_key_under_another_name(machine, other_ak):
    keys = [jwk(other_ak.public_key()), jwk(machine.ak.public_key(), kid="HCLEkPub")]
    machine.runtime = runtime_json(None, keys=keys)
    machine.refused(6, "not signed")


@given(where=st.integers(0, 255), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_signature(ak, where, bit):
    machine = Machine(ak)
    signature = bytearray(sign(ak, machine.message))
    signature[where] ^= 1 << bit
    machine.signature = bytes(signature)
    machine.refused(6, "not signed")


@given(data=st.data())
def test_a_flipped_bit_of_the_message(ak, data):
    machine = Machine(ak)
    message = bytearray(machine.message)
    machine.signature = sign(ak, machine.message)
    message[data.draw(st.integers(0, len(message) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    machine.message = bytes(message)
    machine.refused(6, "not signed")


@pytest.mark.parametrize(
    "changed", [{"magic": 0}, {"type": 0x8017}, {"bank": 4}, {"selected": b"\xff\xff\x7f"}, {"tail": b"\0"}]
)
def test_another_statement_by_the_key(machine, changed):
    machine.message = quote_message(DATA, **changed)
    machine.refused(7, "TPM quote")


@pytest.mark.parametrize(
    "data", [b"", DATA[:-1], DATA + b"\0", DATA.ljust(64, b"\0"), b"\1" + DATA[1:], DATA[::-1], DATA[:32]]
)
def test_a_quote_for_someone_else(machine, data):
    machine.message = quote_message(data)
    machine.refused(8, "report data")


def test_an_empty_expectation_is_never_met(machine):
    machine.message = quote_message(b"")
    machine.refused(8, "report data", extra_data=b"")


@pytest.mark.parametrize("pcr", range(24))
def test_another_pcr(machine, pcr):
    machine.pcrs = (*PCRS[:pcr], bytes(32), *PCRS[pcr + 1 :])
    machine.refused(9, "PCR values")


def test_pcrs_in_another_order(machine):
    machine.pcrs = PCRS[::-1]
    machine.refused(9, "PCR values")


@given(
    st.sampled_from(["hcl_report", "message", "signature", "pcrs"]), st.integers(0, 5000), st.integers(1, 255)
)
def test_any_changed_byte_of_real_evidence(real, part, where, mask):
    changed = {**real, "tpm_quote": dict(real["tpm_quote"])}
    if part == "hcl_report":
        raw = bytearray(base64.urlsafe_b64decode(real[part]))
        at = 0x4C0 + where % (len(raw) - 0x4C0)  # the hardware report itself is the vendor's to verify
        raw[at] ^= mask
        changed[part] = base64.urlsafe_b64encode(raw).decode()
    elif part == "pcrs":
        raw = bytearray.fromhex("".join(real["tpm_quote"][part]))
        raw[where % len(raw)] ^= mask
        changed["tpm_quote"][part] = [raw[at : at + 32].hex() for at in range(0, len(raw), 32)]
    else:
        raw = bytearray.fromhex(real["tpm_quote"][part])
        raw[where % len(raw)] ^= mask
        changed["tpm_quote"][part] = raw.hex()
    with pytest.raises(EvidenceRefused):
        verify_azure(AzureEvidence.of(changed), SNP, vendor(), b"challenge")
