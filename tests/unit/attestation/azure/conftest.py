"""Keys of a synthetic TPM, and evidence of a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

QUOTES = Path(__file__).parents[5] / "shared" / "data" / "quotes"


@pytest.fixture(scope="session")
def ak():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def other_ak():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def real():
    """Evidence that a TPM of Azure's gave for the data "challenge"."""
    path = QUOTES / "azure-snp-vtpm.evidence.json"
    if not path.exists():
        pytest.skip(f"needs {path.name}, which is not distributed with the project")
    return json.loads(path.read_bytes())
