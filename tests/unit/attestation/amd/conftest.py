"""Reports of real chips, and an authority of ours in the place of AMD's."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product

from .synthetic import Authority, Machine

QUOTES = Path(__file__).parents[5] / "shared" / "data" / "quotes"
NOW = 1_735_000_000  # December 2024: all real certificates are valid


def read(name: str) -> bytes:
    """Return a file of real evidence, which is not distributed with the project, or skip."""
    path = QUOTES / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not distributed with the project")
    return path.read_bytes()


@dataclass(frozen=True)
class Real:
    """A report of a real chip, the certificate that came with it, and the entry of expected.json."""

    report: bytes
    endorsement: bytes
    expected: dict[str, Any]

    @property
    def certificates(self):
        return Certificates.from_der(self.endorsement)


def real_report(name: str) -> Real:
    expected = json.loads(read("expected.json"))["snp"][name]
    return Real(read(f"{name}.report.bin"), read(f"{name}.vcek.der"), expected)


@pytest.fixture(scope="session")
def milan():
    return real_report("snp-v2-milan")


@pytest.fixture(scope="session")
def milan_debug():
    return real_report("snp-v2-milan-debug")


@pytest.fixture(scope="session", params=["snp-v2-milan", "snp-v2-milan-debug"])
def each(request):
    return real_report(request.param)


@pytest.fixture(scope="session")
def azure():
    """Report and certificate (DER) inside the evidence of an Azure confidential VM."""
    evidence = json.loads(read("azure-snp-vtpm.evidence.json"))

    def decoded(name):
        return base64.urlsafe_b64decode(evidence[name] + "==")

    return decoded("hcl_report")[0x20:][:1184], decoded("vcek")


@pytest.fixture(scope="session")
def authority():
    return Authority()


@pytest.fixture
def machine(authority):
    """A Milan machine with a VCEK; a test makes others by `machine.of(...)`."""
    return Machine(authority, Product.MILAN)
