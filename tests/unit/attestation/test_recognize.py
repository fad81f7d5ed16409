"""What evidence is, whatever it is written in; and that nothing else is taken for evidence."""

from __future__ import annotations

import base64
import json
import textwrap
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.amd.report import LAYOUT
from confide.attestation.intel.sigstruct import HEADER
from confide.attestation.recognize.encodings import MAX_INPUT_BYTES, decode_text
from confide.attestation.recognize.endorsements import read_endorsements
from confide.attestation.recognize.kinds import (
    GivenAzure,
    GivenQuote,
    GivenRatls,
    GivenReport,
    GivenSigstruct,
)
from confide.attestation.recognize.recognize import recognize
from confide.errors import InvalidFormat

from .amd import synthetic as amd
from .intel import synthetic as intel

QUOTES = Path(__file__).parents[4] / "shared" / "data" / "quotes"
REAL = {
    "sgx-v3-config-swhardening.quote.bin": GivenQuote,
    "sgx-v3-debug.quote.bin": GivenQuote,
    "tdx-v4-uptodate.quote.bin": GivenQuote,
    "tdx-v5-no-tcb-level.quote.bin": GivenQuote,
    "snp-v2-milan.report.bin": GivenReport,
    "snp-v2-milan-debug.report.bin": GivenReport,
    "gramine-sigstruct.sig": GivenSigstruct,
    "ratls-gramine.cert.pem": GivenRatls,
    "ratls-rats-tls.cert.pem": GivenRatls,
    "azure-snp-vtpm.evidence.json": GivenAzure,
}
NO_EVIDENCE = [
    "sgx-v3-debug.collateral.json",
    "tdx-v4-uptodate.collateral.json",
    "snp-milan-ask-ark.pem",
    "snp-v2-milan.vcek.der",
    "snp-turin.vcek.der",
    "expected.json",
    "PROVENANCE.md",
]


def armour(data: bytes, label: str = "QUOTE") -> bytes:
    body = base64.encodebytes(data).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


def prefixed(data: bytes) -> bytes:
    return ", ".join(f"0x{byte:02x}" for byte in data).encode()


ENCODINGS = {
    "binary": lambda data: data,
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode() + b"\r\n",
    "0x": lambda data: b"0x" + data.hex().encode(),
    "hex in lines": lambda data: "\n".join(textwrap.wrap(data.hex(), 63)).encode(),
    "hex in words": lambda data: data.hex(" ", 2).encode(),
    "colons": lambda data: data.hex(":").encode(),
    "C array": prefixed,
    "base64": lambda data: base64.b64encode(data),
    "base64 in lines": lambda data: b"  " + base64.encodebytes(data),
    "base64url": lambda data: base64.urlsafe_b64encode(data).rstrip(b"="),
    "base64 without padding": lambda data: base64.b64encode(data).rstrip(b"="),
    "JSON string": lambda data: json.dumps(base64.b64encode(data).decode()).encode(),
    "JSON array": lambda data: json.dumps(list(data)).encode(),
    "PEM": armour,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + base64.b64encode(data),
    "UTF-16": lambda data: data.hex().encode("utf-16"),
    "base64 of hex": lambda data: base64.b64encode(data.hex().encode()),
    "hex of base64": lambda data: base64.b64encode(data).hex().encode(),
}


def read(name: str) -> bytes:
    """Return a file of real evidence, which is not distributed with the project, or skip."""
    path = QUOTES / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not distributed with the project")
    return path.read_bytes()


@pytest.fixture(scope="session")
def quote():
    return intel.Machine(intel.Authority()).quote()


@pytest.fixture(scope="session")
def machine():
    return amd.Machine(amd.Authority(), amd.Product.MILAN)


@pytest.fixture(scope="session")
def report(machine):
    return machine.report()


def refused(data: bytes, reason: str) -> str:
    with pytest.raises(InvalidFormat, match=reason) as caught:
        recognize(data)
    return str(caught.value)


# -- What there is


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_real_evidence_in_every_encoding(name, encoding):
    data = read(name)
    found = recognize(ENCODINGS[encoding](data))
    assert isinstance(found.evidence, REAL[name])
    assert found == recognize(data) or found.encoding != recognize(data).encoding
    assert found.evidence == recognize(data).evidence


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_evidence_made_here_in_every_encoding(quote, report, encoding):
    assert recognize(ENCODINGS[encoding](quote)).evidence == GivenQuote(quote)
    assert recognize(ENCODINGS[encoding](report)).evidence == GivenReport(report)


@pytest.mark.parametrize("label", ["QUOTE", "SGX QUOTE", "ATTESTATION REPORT", "TDX_QUOTE"])
def test_any_label_of_pem(quote, label):
    found = recognize(armour(quote, label))
    assert found.evidence == GivenQuote(quote)
    assert label in found.encoding


@pytest.mark.parametrize(("version", "body_type"), [(3, 1), (4, 1), (5, 1), (4, 2), (5, 2), (5, 3), (5, 4)])
def test_quotes_of_every_version(version, body_type):
    made = intel.Machine(intel.Authority()).quote(version, body_type)
    assert recognize(made).evidence == GivenQuote(made)


@pytest.mark.parametrize("version", [2, 3, 5])
@pytest.mark.parametrize("product", list(amd.Product))
def test_reports_of_every_version(machine, version, product):
    made = machine.of(product, version=version).report()
    assert recognize(made).evidence == GivenReport(made)


def test_padding_is_taken_off_and_counted(quote, report):
    for data, kind in ((quote, GivenQuote), (report, GivenReport)):
        found = recognize(data + bytes(70))
        assert (found.evidence, found.padding) == (kind(data), 70)
        behind = recognize(data + bytes(69) + b"\1")
        assert (behind.evidence, behind.padding) == (kind(data + bytes(69) + b"\1"), 0)


def test_real_padding():
    found = recognize(read("tdx-v4-uptodate.quote.bin"))
    assert found.padding == 70
    assert len(found.evidence.raw) == 4936


def test_a_firmware_response(report):
    response = bytes(4) + len(report).to_bytes(4, "little") + bytes(24) + report
    found = recognize(response.ljust(4000, b"\0"))
    assert found.evidence == GivenReport(report)


# -- JSON of the KBS protocol


def test_a_quote_of_the_attesters(quote):
    message = {"quote": base64.b64encode(quote + bytes(10)).decode(), "cc_eventlog": "zzzz"}
    found = recognize(json.dumps(message).encode())
    assert (found.evidence, found.padding) == (GivenQuote(quote, b"\xcf\x3c\xf3"), 10)
    assert found.notes == ()


def structured(report: bytes) -> dict:
    """Write a report as the crate `sev` does."""
    fields = LAYOUT.read(report)

    def tcb(name):
        raw = fields[name]
        return {"fmc": None, "bootloader": raw[0], "tee": raw[1], "snp": raw[6], "microcode": raw[7]}

    def version(name):
        return {part: fields[f"{name}_{part}"] for part in ("major", "minor", "build")}

    octets = ("family_id", "image_id", "report_data", "measurement", "host_data", "id_key_digest")
    octets += ("author_key_digest", "report_id", "report_id_ma", "chip_id")
    return {
        "version": fields["version"],
        "guest_svn": fields["guest_svn"],
        "policy": fields["policy"],
        "vmpl": fields["vmpl"],
        "sig_algo": fields["signature_algo"],
        "plat_info": fields["platform_info"],
        "key_info": fields["key_info"],
        "cpuid_fam_id": fields["cpuid_family"],
        "cpuid_mod_id": fields["cpuid_model"],
        "cpuid_step": None,
        "current": version("current"),
        "committed": version("committed"),
        "signature": {"r": list(fields["signature_r"]), "s": list(fields["signature_s"])},
        **{name: list(fields[name]) for name in octets},
        **{name: tcb(name) for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")},
    }


def test_a_report_field_by_field(machine, report):
    vcek = machine.endorsement().public_bytes(amd.Encoding.DER)
    table = [
        {"cert_type": "VCEK", "data": list(vcek)},
        {"cert_type": {"OTHER": "7d1c2a2c-0000-4000-8000-000000000000"}, "data": [1]},
        {"cert_type": "CRL", "data": [1]},
    ]
    message = {"attestation_report": structured(report), "cert_chain": table}
    found = recognize(json.dumps(message).encode())
    assert found.evidence.raw == report
    assert found.evidence.certificates.endorsement.public_bytes(amd.Encoding.DER) == vcek


def test_a_turin_report_field_by_field(machine):
    made = machine.of(amd.Product.TURIN).report()
    fields = structured(made)
    for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"):
        raw = LAYOUT.read(made)[name]
        fields[name] = {
            "fmc": raw[0],
            "bootloader": raw[1],
            "tee": raw[2],
            "snp": raw[3],
            "microcode": raw[7],
        }
    assert recognize(json.dumps({"attestation_report": fields}).encode()).evidence.raw == made


def test_a_report_in_our_form(report):
    message = {"attestation_report": base64.b64encode(report).decode(), "cert_chain": []}
    assert recognize(json.dumps(message).encode()).evidence == GivenReport(report)


def test_a_whole_attestation(quote):
    runtime = {"nonce": "AAAA", "tee-pubkey": {"kty": "RSA"}}
    evidence = {"primary_evidence": {"quote": base64.b64encode(quote).decode()}, "additional_evidence": "{}"}
    message = {"init-data": None, "runtime-data": runtime, "tee-evidence": evidence}
    found = recognize(json.dumps(message).encode())
    assert (found.evidence, found.runtime_data, found.notes) == (GivenQuote(quote), runtime, ())
    assert recognize(json.dumps(evidence).encode()).runtime_data is None


@pytest.mark.parametrize("name", ["version", "policy", "report_data", "signature", "reported_tcb", "current"])
@pytest.mark.parametrize("value", [None, "1", -1, 2**70, [1], [256] * 64, {}, True])
def test_a_field_of_a_report_is_none(report, name, value):
    fields = {**structured(report), name: value}
    refused(json.dumps({"attestation_report": fields}).encode(), "SNP report in JSON")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"quote": ""}, "neither hex nor base64"),
        ({"quote": []}, "neither text in base64"),
        ({"quote": [1, 2, 300]}, "neither text in base64"),
        ({"quote": {"a": 1}}, "no evidence"),
        ({"quote": "!!"}, "neither hex nor base64"),
        ({"quote": "abc"}, "odd number"),
        ({"attestation_report": 5}, "neither text in base64"),
        ({"attestation_report": {}}, "version"),
        ({"attestation_report": "AAAA", "cert_chain": {"a": 1}}, "cert_chain"),
        ({"attestation_report": "AAAA", "cert_chain": [1]}, "cert_chain"),
        ({"attestation_report": "AAAA", "cert_chain": [{"cert_type": "VCEK"}]}, "cert_chain"),
        (
            {"attestation_report": "AAAA", "cert_chain": [{"cert_type": "VCEK", "data": "AAAA"}]},
            "certificate",
        ),
        ({"attestation_report": "AAAA", "cert_chain": [{"cert_type": "ASK", "data": [1]}] * 2}, "ASK twice"),
        ({"runtime-data": {}}, "without its runtime-data or its tee-evidence"),
        ({"runtime-data": 5, "tee-evidence": {}}, "without its runtime-data"),
        ({"runtime-data": {}, "tee-evidence": "AAAA"}, "without its runtime-data"),
        ({"runtime-data": {}, "tee-evidence": {}}, "no evidence"),
        (
            {"runtime-data": {}, "tee-evidence": {"runtime-data": {}, "tee-evidence": {}}},
            "an attestation inside an attestation",
        ),
        ({"hcl_report": "AAAA", "version": 1}, "Azure evidence that does not read"),
        ({"hcl_report": "AAAA", "version": 9}, "Azure evidence that does not read"),
        ({"hcl_report": "AAAA"}, "Azure evidence that does not read"),
        ({"report": [1], "vcek": ""}, "Azure evidence that does not read"),
        ({"payload": "e30", "protected": "e30", "signature": "AA"}, "simulated"),
        (
            {"tcbInfo": {"id": "TDX", "fmspc": "50806f000000"}, "signature": ""},
            "TCB info of TDX 50806f000000",
        ),
        ({"enclaveIdentity": {"id": "QE"}}, "QE identity of QE"),
        ({"tcb_info": "", "qe_identity": ""}, "which does not read"),
        ({"keys": [], "token": "x"}, "its members: keys, token"),
    ],
)
def test_json_that_is_no_evidence(message, reason):
    refused(json.dumps(message).encode(), reason)


# -- What is no evidence


@pytest.mark.parametrize("name", NO_EVIDENCE)
@pytest.mark.parametrize("encoding", ["binary", "hex", "base64"])
def test_real_files_that_are_no_evidence(name, encoding):
    message = refused(ENCODINGS[encoding](read(name)), ".")
    assert "accepted are" in message or "--collateral" in message


def test_collateral_is_said_to_be_collateral():
    collateral = intel.Authority().collateral().to_json()
    assert "collateral for TDX on platforms 50806F000000 (platform CA)" in refused(collateral, "--collateral")


def test_the_certificate_of_an_intel_platform_is_no_evidence():
    """Its extension has the number that the SGX SDK's certificates carry quotes under."""
    certificate = intel.Machine(intel.Authority()).pck.certificate
    refused(certificate.public_bytes(Encoding.PEM), "without evidence, of Intel SGX PCK Certificate")


def test_certificates_are_said_to_be_certificates(machine):
    vcek = machine.endorsement()
    assert "SEV-VCEK" in refused(amd.der(vcek), "without evidence")
    both = amd.pem(vcek) + amd.pem(machine.intermediate)
    assert "SEV-VCEK" in refused(both, "2 blocks of PEM")
    crl = machine.authority.crl(amd.Product.MILAN).public_bytes(amd.Encoding.DER)
    refused(crl, "a CRL of ARK-Milan")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"hello, world!", "neither hex nor base64"),
        (b"\0" * 4000, "no evidence"),
        (b"\xff" * 4000, "no evidence"),
        (bytes(range(256)), "no evidence"),
        (b"HCLA" + bytes(2000), "HCL report"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"\xffTCG\x80\x18" + bytes(100), "TPM's quote alone"),
        (b"\x81" + bytes(1023), "TDREPORT"),
        (b"0" * 1001, "odd number of digits"),
        (b"ab:c:de", "odd number of digits"),
        (b"0xa, 0xbc", "odd number of digits"),
        (b"QUJD" * 30 + b"Q", "base64 of a length"),
        (b"-----BEGIN QUOTE-----\nAAAA\n", "PEM"),
        (b"-----END QUOTE-----\n", "neither hex nor base64"),
        (b"-----BEGIN QUOTE-----\n!!!\n-----END QUOTE-----\n", "not base64 inside"),
        (b"-----BEGIN A-----\nAAAA\n-----END B-----\n", "PEM"),
        (b"-----BEGIN A-----\nAAAA\n-----END A-----\nmore", "beside it"),
        (b"text\n-----BEGIN A-----\nAAAA\n-----END A-----\n", "beside it"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no evidence"),
        (b"{", "JSON that does not read"),
        (b'{"a": 1} {"a": 1}', "JSON that does not read"),
        (b'{"quote": "AAAA", "quote": "BBBB"}', "there twice"),
        (b'{"quote": NaN}', "NaN"),
        (b'{"a": ' + b"[" * 100_000, "JSON"),
        (b'{"a":' * 50_000, "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[" + b"9" * 100_000 + b"]", "JSON"),
        (b"[1, 2, 3.5]", "JSON that is no evidence"),
        (b'"' + b"A" * 100 + b'"', "no evidence"),
        (b"null", "no evidence"),
        (b"eyJhbGciOiJub25lIn0.eyJhIjoxfQ.", "attestation token"),
        (HEADER + bytes(1000), "a SIGSTRUCT of 1808 bytes that was cut"),
        (b"\x30\x82\x01\x00" + bytes(256), "certificate"),
        (b"\xff\xfe\x00\xd8", "no evidence"),
    ],
)
def test_bytes_that_are_no_evidence(data, reason):
    refused(data, reason)


def test_two_things_in_one_file(quote, report):
    refused(armour(quote) + armour(quote), "2 blocks of PEM")
    refused(base64.b64encode(quote) + b"\n{}", "neither hex nor base64")
    refused(json.dumps([list(quote), list(quote)]).encode(), "no evidence")
    both = recognize(quote + quote)  # for its verifier to refuse: bytes behind its end
    assert both.evidence == GivenQuote(quote + quote)
    assert recognize(report + report).evidence == GivenReport(report + report)


def test_too_much():
    refused(b"A" * (MAX_INPUT_BYTES + 1), "more than 1048576 bytes")
    refused(base64.b64encode(bytes(700_000)), "no evidence")


def test_a_refusal_says_what_was_tried_and_what_is_accepted():
    message = refused(bytes(range(200)), "tried quote, SNP report, SIGSTRUCT, certificate")
    for accepted in ("SGX", "TDX", "SNP", "RA-TLS", "KBS", "Azure", "SIGSTRUCT", "base64", "PEM"):
        assert accepted in message


def test_truncated_evidence_is_evidence_still(quote):
    """Its verifier says what is missing."""
    for size in (48, 100, len(quote) // 2, len(quote) - 1):
        assert recognize(quote[:size]).evidence == GivenQuote(quote[:size])


# -- Nothing but the typed refusal


def only_refuses(data: bytes) -> None:
    try:
        recognize(data)
    except InvalidFormat:
        pass
    try:
        read_endorsements([("file", data)])
    except InvalidFormat:
        pass


@pytest.mark.parametrize(
    "text",
    [
        '{"signature": "00", "note": "\\"tcbInfo\\": ", "tcbInfo": {"id": "TDX"}}',
        '{"note": {"id": "TDX"}, "tcbInfo": {"id": "TDX"}, "signature": "00"}',
    ],
)
def test_signed_json_has_two_members_and_no_more(text):
    with pytest.raises(InvalidFormat, match=r"tcbInfo and (its )?signature"):
        read_endorsements([("file", text.encode())])


@given(st.binary(max_size=3000))
def test_any_bytes(data):
    only_refuses(data)


@given(st.text(max_size=500), st.sampled_from(["", "-----BEGIN A-----", '{"quote":', "[", '"', "0x"]))
def test_any_text(text, start):
    only_refuses((start + text).encode())


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40).map(list),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
MEMBERS = ["quote", "attestation_report", "cert_chain", "runtime-data", "tee-evidence", "primary_evidence"]
MEMBERS += [
    "hcl_report",
    "tpm_quote",
    "vcek",
    "version",
    "report",
    "tcb_info",
    "qe_identity",
    "tcbInfo",
    "signature",
]


@given(st.dictionaries(st.sampled_from(MEMBERS), values, max_size=6))
def test_any_json(message):
    only_refuses(json.dumps(message).encode())


@given(st.data())
def test_changed_evidence(quote, report, data):
    raw = bytearray(data.draw(st.sampled_from((quote, report))))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    only_refuses(data.draw(st.sampled_from(list(ENCODINGS.values())))(cut) if cut else b"")


@pytest.mark.parametrize("encoding", ["hex", "0x", "colons", "C array", "hex in words", "HEX"])
@given(data=st.binary(min_size=1, max_size=300).filter(lambda data: any(byte >= 0x80 for byte in data)))
def test_hex_comes_back(encoding, data):
    assert decode_text(ENCODINGS[encoding](data).decode()).data == data
