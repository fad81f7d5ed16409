"""A server's key is read from memory, by a name that is gone at once where a name is needed."""

from __future__ import annotations

import errno
import os
import ssl

import pytest

from confide.broker import tls
from confide.broker.ca import CertificateAuthority


@pytest.fixture
def pem() -> bytes:
    return CertificateAuthority.create(1_800_000_000).issue_leaf(["localhost"], 1_800_000_000)


@pytest.mark.parametrize("libos", ["", "gramine"])
def test_a_descriptor_without_a_name(pem, monkeypatch, libos):
    """The variable alone puts no key into a file: whoever sets it on a host has it read from memory all the same."""
    monkeypatch.setenv("CONFIDE_LIBOS", libos)
    monkeypatch.setattr(tls, "_ENCLAVE_MEMORY", "/nowhere")
    tls.load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)


def test_under_gramine_the_enclaves_own_memory(pem, monkeypatch, tmp_path):
    monkeypatch.setenv("CONFIDE_LIBOS", "gramine")
    monkeypatch.setattr(tls, "_ENCLAVE_MEMORY", str(tmp_path))
    monkeypatch.setattr("os.memfd_create", _not_there)
    tls.load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)
    assert not list(tmp_path.iterdir())


def test_no_file_where_there_is_no_enclave(pem, monkeypatch, tmp_path):
    monkeypatch.delenv("CONFIDE_LIBOS", raising=False)
    monkeypatch.setattr(tls, "_ENCLAVE_MEMORY", str(tmp_path))
    monkeypatch.setattr("os.memfd_create", _not_there)
    with pytest.raises(OSError, match="not implemented"):
        tls.load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem)


def _not_there(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
