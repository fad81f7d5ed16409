"""A server's key is read from memory, by a name that is gone at once where a name is needed."""

from __future__ import annotations

import ssl

import pytest

from confide.broker import tls
from confide.broker.ca import CertificateAuthority


@pytest.fixture
def pem() -> bytes:
    return CertificateAuthority.create(1_800_000_000).issue_leaf(["localhost"], 1_800_000_000)


def test_a_descriptor_without_a_name(pem, monkeypatch):
    monkeypatch.delenv("CONFIDE_LIBOS", raising=False)
    monkeypatch.setattr(tls, "_ENCLAVE_MEMORY", "/nowhere")
    tls.load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)


def test_under_gramine_the_enclaves_own_memory(pem, monkeypatch, tmp_path):
    monkeypatch.setenv("CONFIDE_LIBOS", "gramine")
    monkeypatch.setattr(tls, "_ENCLAVE_MEMORY", str(tmp_path))
    monkeypatch.delattr("os.memfd_create")
    tls.load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)
    assert not list(tmp_path.iterdir())
