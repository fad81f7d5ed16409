import pytest

from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

PATIENTS = KeyName("clinic", "patients")
IDENTIFIERS = KeyName("clinic", "identifiers")


@pytest.fixture
def keyset() -> Keyset:
    return Keyset(
        {
            PATIENTS: NamedKey(PATIENTS, 2, {1: b"\x01" * 32, 2: b"\x02" * 32}),
            IDENTIFIERS: NamedKey(IDENTIFIERS, 1, {1: b"\x03" * 32}),
        }
    )


@pytest.fixture
def key() -> KeyName:
    return PATIENTS


@pytest.fixture
def folder() -> str:
    return "00112233445566778899aabbccddeeff"
