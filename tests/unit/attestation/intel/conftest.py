"""Quotes of real platforms, with the collateral of their time and what is known of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import trim_padding

QUOTES = Path(__file__).parents[5] / "shared" / "data" / "quotes"


@dataclass(frozen=True)
class Real:
    """A quote as it came, without its padding, its collateral, and the entry of expected.json."""

    padded: bytes
    raw: bytes
    collateral_json: bytes
    collateral: Collateral
    expected: dict[str, Any]

    @property
    def now(self):
        return self.expected["inside"]["now"]


def read(name: str) -> bytes:
    """Return a file of real evidence, which is not distributed with the project, or skip."""
    path = QUOTES / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not distributed with the project")
    return path.read_bytes()


def real_quote(name: str) -> Real:
    padded, document = read(f"{name}.quote.bin"), read(f"{name}.collateral.json")
    expected = json.loads(read("expected.json"))["intel"][name]
    return Real(padded, trim_padding(padded), document, Collateral.from_json(document), expected)


@pytest.fixture(scope="session")
def sgx():
    return real_quote("sgx-v3-config-swhardening")


@pytest.fixture(scope="session")
def sgx_debug():
    return real_quote("sgx-v3-debug")


@pytest.fixture(scope="session")
def tdx():
    return real_quote("tdx-v4-uptodate")


@pytest.fixture(scope="session")
def tdx5():
    return real_quote("tdx-v5-no-tcb-level")


@pytest.fixture(
    scope="session",
    params=["sgx-v3-config-swhardening", "sgx-v3-debug", "tdx-v4-uptodate", "tdx-v5-no-tcb-level"],
)
def each(request):
    return real_quote(request.param)
