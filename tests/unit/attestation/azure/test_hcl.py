"""HCL reports and the runtime JSON in them."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given
from hypothesis import strategies as st

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import MAX_HCL_BYTES, HardwareReport, read_hcl, read_runtime
from confide.errors import InvalidFormat

from .synthetic import hcl_report, jwk, runtime_json

SNP, TDX = HardwareReport.SNP, HardwareReport.TDX
HARDWARE = {SNP: bytes(range(1, 149)) * 8, TDX: bytes(range(1, 129)) * 8}


def refused_report(data, reason):
    with pytest.raises(InvalidFormat, match=reason):
        read_hcl(data)


def refused_runtime(document, reason):
    with pytest.raises(InvalidFormat, match=reason):
        read_runtime(document)


@pytest.mark.parametrize("kind", [SNP, TDX])
def test_a_report_is_split(ak, kind):
    runtime = runtime_json(ak.public_key())
    report = read_hcl(hcl_report(HARDWARE[kind], runtime, kind))
    assert (report.kind, report.hardware_report, report.runtime_json) == (kind, HARDWARE[kind], runtime)


def test_a_real_report(real):
    report = read_hcl(AzureEvidence.of(real).hcl_report)
    assert (report.kind, len(report.hardware_report), len(report.runtime_json)) == (SNP, 1184, 1110)
    runtime = read_runtime(report.runtime_json)
    assert runtime.attestation_key.key_size == 2048
    assert runtime.user_data == bytes(64)
    assert runtime.configuration["secure-boot"] is True


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"signature": b"HCLB"}, "HCLA"),
        ({"version": 0}, "version"),
        ({"version": 3}, "version"),
        ({"data_version": 2}, "version"),
        ({"report_type": 0}, "neither"),
        ({"report_type": 3}, "neither"),
        ({"report_type": 5}, "neither"),
        ({"hash_type": 0}, "SHA-256"),
        ({"hash_type": 2}, "SHA-256"),
        ({"hash_type": 3}, "SHA-256"),
        ({"report_size": 0}, "sizes"),
        ({"data_size": 2**32 - 1}, "sizes"),
        ({"json_size": 2**32 - 1, "data_size": 19}, "sizes"),
        ({"json_size": 0}, "sizes"),
        ({"tail": b"x"}, "more than zeros behind it"),
        ({"tail": bytes(1000) + b"x"}, "more than zeros behind it"),
    ],
)
def test_another_header(ak, changed, reason):
    refused_report(hcl_report(HARDWARE[SNP], runtime_json(ak.public_key()), SNP, **changed), reason)


def test_more_than_a_td_report(ak):
    data = hcl_report(HARDWARE[SNP], runtime_json(ak.public_key()), TDX)
    refused_report(data, "more than zeros behind the hardware report")


def test_sizes(ak):
    data = hcl_report(HARDWARE[SNP], runtime_json(ak.public_key()), SNP, size=0)
    assert read_hcl(data)
    refused_report(data[:-1], "sizes")
    refused_report(data[:1235], "1235 bytes")
    refused_report(b"", "0 bytes")
    assert read_hcl(data.ljust(MAX_HCL_BYTES, b"\0"))
    refused_report(data.ljust(MAX_HCL_BYTES + 1, b"\0"), "at most")


@given(st.binary(max_size=3000))
@example(b"HCLA".ljust(1236, b"\0"))
def test_any_bytes(data):
    with pytest.raises(InvalidFormat):
        read_hcl(data)


@given(where=st.integers(0, 0x4D3), bit=st.integers(0, 7))
def test_any_header_that_still_reads_leaves_the_json_whole(where, bit):
    runtime = b'{"keys": []}'
    data = bytearray(hcl_report(HARDWARE[SNP], runtime, SNP))
    data[where] ^= 1 << bit
    try:
        report = read_hcl(bytes(data))
    except InvalidFormat:
        return
    assert report.runtime_json == runtime


def test_the_runtime_names_the_key(ak, other_ak):
    other = jwk(other_ak.public_key(), kid="HCLEkPub", key_ops=["encrypt"])
    keys = [other, jwk(ak.public_key())]
    runtime = read_runtime(runtime_json(ak.public_key(), bytes(range(64)), keys=keys))
    assert runtime.attestation_key == ak.public_key()
    assert runtime.user_data == bytes(range(64))


@pytest.mark.parametrize(
    "changed",
    [
        {"kid": "HCLEkPub"},
        {"kid": "HCLAkPub "},
        {"kid": None},
        {"kty": "EC"},
        {"kty": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": ["sign", "encrypt"]},
        {"key_ops": "sign"},
        {"e": "Aw"},
        {"e": "AQ"},
        {"e": "AQAD"},
        {"e": ""},
        {"e": 65537},
        {"n": None},
        {"n": ""},
        {"n": "!!!!"},
        {"n": "AQAB"},
        {"n": "A" * 5000},
        {"n": "_" * 700},
        {"n": ["AQAB"]},
        {"n": "é" * 342},
    ],
)
def test_another_key(ak, changed):
    refused_runtime(runtime_json(None, keys=[jwk(ak.public_key(), **changed)]), "HCLAkPub")


@pytest.mark.parametrize("bits", [1024, 1536])
def test_a_key_too_small(bits):
    key = rsa.generate_private_key(65537, bits).public_key()
    refused_runtime(runtime_json(key), "2048")


def test_keys(ak):
    key = jwk(ak.public_key())
    refused_runtime(runtime_json(None, keys=[key, key]), "not exactly one key")
    refused_runtime(runtime_json(None, keys=[]), "not exactly one key")
    refused_runtime(runtime_json(None, keys={"HCLAkPub": key}), "no keys")
    refused_runtime(runtime_json(None, keys=[key] * 9), "no keys")
    refused_runtime(runtime_json(None, keys=["HCLAkPub"]), "not exactly one key")


def test_a_member_twice(ak):
    document = runtime_json(ak.public_key()).decode()
    refused_runtime(document.replace("{", '{"keys":[],', 1).encode(), "twice")
    refused_runtime(document.replace('"kty"', '"kid":"other","kty"').encode(), "twice")
    refused_runtime(
        document.replace('"console-enabled"', '"secure-boot":0,"console-enabled"').encode(), "twice"
    )


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b"{",
        b"\xff",
        b"[" * 4000,
        b'{"a":' * 1000,
        b"1" * 5000,
        b'{"keys": 1}',
    ],
)
def test_no_runtime(document):
    with pytest.raises(InvalidFormat):
        read_runtime(document)


@pytest.mark.parametrize("text", ["zz", "0", "00" * 65, 7, None, ["00"]])
def test_other_user_data(ak, text):
    document = json.loads(runtime_json(ak.public_key())) | {"user-data": text}
    refused_runtime(json.dumps(document).encode(), "user-data")


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.sampled_from(["HCLAkPub", "RSA", "sign"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["keys", "kid", "kty", "key_ops", "n", "e", "user-data", "vm-configuration"]),
                inner,
            )
        ),
    )
)
def test_any_json(value):
    with pytest.raises(InvalidFormat):
        read_runtime(json.dumps(value).encode())
