"""Keys that the processor gives to an enclave: a folder stands in for Gramine's pseudo-files."""

from __future__ import annotations

import pytest

from confide.errors import Misuse, ProviderUnavailable, Tampered
from confide.keys.enclave_sealed import ATTESTATION, EnclaveSealed
from confide.keys.provider import open_provider

KEY = bytes(range(16))


@pytest.fixture
def attestation(tmp_path):
    (tmp_path / "my_target_info").write_bytes(bytes(512))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/_sgx_mrenclave").write_bytes(KEY)
    (tmp_path / "keys/_sgx_mrsigner").write_bytes(KEY[::-1])
    return tmp_path


@pytest.mark.parametrize("kind", ["mrenclave", "mrsigner"])
def test_the_same_enclave_unwraps(attestation, kind):
    wrapped = EnclaveSealed.open(kind, attestation).wrap(b"secret", b"context")
    assert EnclaveSealed.open(kind, attestation).unwrap(wrapped, b"context") == b"secret"


def test_another_enclave_does_not(attestation):
    wrapped = EnclaveSealed.open("mrenclave", attestation).wrap(b"secret", b"context")
    (attestation / "keys/_sgx_mrenclave").write_bytes(KEY[:-1] + b"\0")
    with pytest.raises(Tampered):
        EnclaveSealed.open("mrenclave", attestation).unwrap(wrapped, b"context")


def test_the_two_kinds_are_told_apart_even_with_equal_keys(attestation):
    (attestation / "keys/_sgx_mrsigner").write_bytes(KEY)
    wrapped = EnclaveSealed.open("mrenclave", attestation).wrap(b"secret", b"context")
    with pytest.raises(Tampered):
        EnclaveSealed.open("mrsigner", attestation).unwrap(wrapped, b"context")


def test_another_context_or_a_changed_byte(attestation):
    provider = EnclaveSealed.open("mrenclave", attestation)
    wrapped = provider.wrap(b"secret", b"context")
    with pytest.raises(Tampered):
        provider.unwrap(wrapped, b"other")
    for place in range(len(wrapped)):
        with pytest.raises(Tampered):
            provider.unwrap(wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :], b"context")


def test_repr_shows_no_key(attestation):
    assert repr(EnclaveSealed.open("mrenclave", attestation)) == "EnclaveSealed(kind='mrenclave')"


@pytest.mark.parametrize("content", [b"", KEY[:15], KEY + b"x", bytes(16)])
def test_a_pseudo_file_that_is_no_key(attestation, content):
    (attestation / "keys/_sgx_mrenclave").write_bytes(content)
    with pytest.raises(ProviderUnavailable, match="16 bytes"):
        EnclaveSealed.open("mrenclave", attestation)


def test_an_absent_pseudo_file(attestation):
    (attestation / "keys/_sgx_mrenclave").unlink()
    with pytest.raises(ProviderUnavailable, match="no sealing key"):
        EnclaveSealed.open("mrenclave", attestation)


def test_gramine_without_sgx(attestation):
    """`gramine-direct` has the folder of keys too, but no enclave."""
    (attestation / "my_target_info").unlink()
    with pytest.raises(ProviderUnavailable, match="not in an SGX enclave"):
        EnclaveSealed.open("mrenclave", attestation)


@pytest.mark.parametrize(
    "uri", ["sealed:", "sealed:tdx", "sealed:../x", "sealed://mrenclave", "sealed:mrenclave?x"]
)
def test_uri_of_no_sealing_key(uri):
    with pytest.raises(Misuse):
        open_provider(uri, {})


def test_a_passphrase_makes_no_sense():
    with pytest.raises(Misuse, match="no passphrase"):
        open_provider("sealed:mrenclave", {"passphrase": b"x"})


@pytest.mark.skipif(ATTESTATION.exists(), reason="this is an enclave")
def test_outside_an_enclave():
    with pytest.raises(ProviderUnavailable):
        open_provider("sealed:mrsigner", {})
