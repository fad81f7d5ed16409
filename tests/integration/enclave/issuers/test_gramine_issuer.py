"""Gramine's pseudo-files, asked by the issuer that runs under Gramine."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.claims import Tee
from confide.enclave.issuers.gramine import GramineIssuer, detect
from confide.errors import AttestationRefused


def issue(folder, report_data):
    return base64.b64decode(GramineIssuer(folder).issue(report_data)["quote"])


def test_the_quote_carries_the_report_data(mounted, report_data):
    folder = mounted("gramine", type="dcap")
    assert issue(folder, report_data)[368:432] == report_data


def test_every_time_it_asks_anew(mounted, report_data):
    folder = mounted("gramine", type="dcap")
    first, second = issue(folder, report_data), issue(folder, report_data[::-1])
    assert second[368:432] == report_data[::-1]
    assert first[436] + 1 == second[436]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("EACCES", "Permission denied"),
        ("EIO", "Input/output error"),
        ("short write", "only 32 of 64 bytes"),
        ("oversized", "more than 16384 bytes"),
        ("someone else asks", "someone else asked meanwhile"),
        ("empty", "not a quote"),
        ("cut", "other report data"),
    ],
)
def test_misbehaviour(mounted, report_data, fault, reason):
    with pytest.raises(AttestationRefused, match=reason):
        issue(mounted("gramine", type="dcap", fault=fault), report_data)


@pytest.mark.parametrize("kind", ["none", "epid", ""])
def test_a_manifest_without_dcap(mounted, report_data, kind):
    folder = mounted("gramine", type=kind)
    assert detect(folder) is None
    with pytest.raises(AttestationRefused, match="not dcap"):
        issue(folder, report_data)


def test_no_gramine(tmp_path, report_data):
    assert detect(tmp_path) is None
    with pytest.raises(AttestationRefused, match="No such file"):
        issue(tmp_path, report_data)


def test_detected(mounted):
    assert detect(mounted("gramine", type="dcap")) is Tee.SGX
