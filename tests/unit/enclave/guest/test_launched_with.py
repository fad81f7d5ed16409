"""Which image a guest was started for, as it reads it off the machine."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.claims import Tee
from confide.enclave.guest import boot
from confide.enclave.guest.boot import launched_with
from confide.enclave.guest.qemu import command_line
from confide.errors import Misuse, Tampered

DIGEST = bytes(range(32))


class Issuer:
    """A kernel that gives evidence with a configuration digest."""

    def __init__(self, evidence):
        self._evidence = evidence

    def issue(self, report_data):
        return self._evidence


def started(monkeypatch, digest, tee):
    """Have the hardware say that the machine was started with this digest."""
    name = {Tee.TDX: "quote", Tee.SNP: "attestation_report"}[tee]
    raw = base64.b64encode(b"raw").decode()
    monkeypatch.setattr(boot, "open_issuer", lambda _: Issuer({name: raw}))

    class Read:
        def octets(self, field):
            assert field == {Tee.TDX: "mrconfigid", Tee.SNP: "host_data"}[tee]
            return digest

    monkeypatch.setattr(boot, "parse_quote", lambda _: Read())
    monkeypatch.setattr(boot, "parse_report", lambda _: Read())


def test_the_command_line_that_a_guest_is_started_with():
    assert launched_with("tpm", command_line(DIGEST.hex()) + "\n") == DIGEST.hex()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "quiet",
        "confide.image",
        "confide.image=",
        f"confide.image={DIGEST.hex()[:-1]}",
        f"confide.image={DIGEST.hex()}0",
        f"confide.image={DIGEST.hex().upper()}",
        f"xconfide.image={DIGEST.hex()}",
        f"confide_image={DIGEST.hex()}",
        f"confide.image={DIGEST.hex()} confide.image={'0' * 64}",
        f"confide.image={DIGEST.hex()} confide.image=",
        f"confide.image={DIGEST.hex()} confide.image={DIGEST.hex()}",
    ],
)
def test_another_command_line(line):
    with pytest.raises(Tampered):
        launched_with("tpm", line)


@pytest.mark.parametrize(("tee", "size"), [(Tee.SNP, 32), (Tee.TDX, 48)])
def test_a_configuration_digest(monkeypatch, tee, size):
    started(monkeypatch, DIGEST.ljust(size, b"\0"), tee)
    assert launched_with(tee, f"confide.image={'0' * 64}") == DIGEST.hex()


@pytest.mark.parametrize(
    ("tee", "digest"),
    [
        (Tee.SNP, bytes(32)),
        (Tee.TDX, bytes(48)),
        (Tee.TDX, DIGEST + b"\1" + bytes(15)),
        (Tee.TDX, bytes(32) + DIGEST[:16]),
        (Tee.TDX, b"\1" * 48),
    ],
)
def test_no_digest_of_an_image(monkeypatch, tee, digest):
    started(monkeypatch, digest, tee)
    with pytest.raises(Tampered):
        launched_with(tee, command_line(DIGEST.hex()))


@pytest.mark.parametrize("tee", ["simulated", "sgx", "az-snp-vtpm", "", "nonsense"])
def test_another_tee(tee):
    with pytest.raises(Misuse):
        launched_with(tee, command_line(DIGEST.hex()))
