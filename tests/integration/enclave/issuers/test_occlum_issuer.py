"""Occlum's ioctls, as system calls that follow the pointers given."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.claims import Tee
from confide.enclave.issuers.occlum import OcclumIssuer, detect
from confide.errors import AttestationRefused


def issue(device, report_data):
    return base64.b64decode(OcclumIssuer(device).issue(report_data)["quote"])


def test_the_quote_carries_the_report_data(mounted, report_data):
    device = mounted("occlum") / "sgx"
    assert detect(device) is Tee.SGX
    quote = issue(device, report_data)
    assert (len(quote), quote[368:432]) == (500, report_data)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("EIO", "Input/output error"),
        ("ENOTTY", "Inappropriate ioctl"),
        ("huge", "1073741824 bytes"),
        ("zero", "0 bytes"),
        ("someone else asks", "someone else asked meanwhile"),
    ],
)
def test_misbehaviour(mounted, report_data, fault, reason):
    with pytest.raises(AttestationRefused, match=reason):
        issue(mounted("occlum", fault=fault) / "sgx", report_data)


def test_a_length_beyond_the_buffer_is_not_believed(mounted, report_data):
    assert len(issue(mounted("occlum", fault="says more") / "sgx", report_data)) == 500


def test_a_device_of_another_driver(report_data):
    from pathlib import Path

    assert detect(Path("/dev/null")) is None
    with pytest.raises(AttestationRefused, match="Inappropriate ioctl"):
        issue(Path("/dev/null"), report_data)


def test_no_device(tmp_path, report_data):
    assert detect(tmp_path / "sgx") is None
    with pytest.raises(AttestationRefused, match="No such file"):
        issue(tmp_path / "sgx", report_data)
