"""Recovery where a provider protects the root key, and at a real terminal."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from confide.keys.recovery.key import RecoveryKey

from .conftest import PIN
from .test_homes import CONFIDE, Home, enclave, home  # noqa: F401 - fixtures

VECTOR = Path(__file__).parents[2] / "vectors/recovery"
PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keys of tests/vectors/recovery, in the folder that commands run in."""
    for name in ("ana", "ben", "machine"):
        shutil.copyfile(VECTOR / f"{name}.key", tmp_path / f"{name}.key")
        public = RecoveryKey.open(tmp_path / f"{name}.key", PASSPHRASE).public
        (tmp_path / f"{name}.pem").write_bytes(public.pem())
    monkeypatch.chdir(tmp_path)
    return tmp_path


SPLIT = ("recovery", "split", "--threshold", "2", "--owner", "ana=ana.pem", "--owner", "ben=ben.pem")


def fingerprint(name: str) -> str:
    return RecoveryKey.open(VECTOR / f"{name}.key", PASSPHRASE).public.fingerprint


def answer(home, name: str) -> None:  # noqa: F811
    command = ("recovery", "answer", "clinic.set", "--key", f"{name}.key", "--to", "machine.pem")
    said = home.ok(*command, "--fingerprint", fingerprint("machine"), secret=PASSPHRASE)
    Path(f"{name}.answer").write_text(said)


def restore(home, *more: str, secret: bytes | None):  # noqa: F811
    """Restore with the secret of the new home, if it has one, and the key's on a descriptor of its own."""
    read, write = os.pipe()
    os.write(write, PASSPHRASE)
    os.close(write)
    command = ("recovery", "restore", "clinic.set", "ana.answer", "ben.answer", "--key", "machine.key")
    given = [*home.inside, *CONFIDE, "--home", str(home.path)]
    descriptors = [read]
    if secret is not None:
        new, write = os.pipe()
        os.write(write, secret)
        os.close(write)
        given += ["--passphrase-fd", str(new)]
        descriptors.append(new)
    try:
        return subprocess.run(
            [*given, *command, "--store", "store.db", "--key-passphrase-fd", str(read), *more],
            pass_fds=descriptors,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    finally:
        for each in descriptors:
            os.close(each)


def refuses_to_split(home, folder, secret: bytes, scheme: str) -> None:  # noqa: F811
    said = home(*SPLIT, "-o", "clinic.set", secret=secret)
    assert said.returncode == 99, said.stderr
    assert f"protected by {scheme}:" in said.stderr
    assert "hint: back up what protects it" in said.stderr
    assert not (folder / "clinic.set").exists()
    kinds = [entry["kind"] for entry in json.loads(home.ok("audit", "--json", secret=secret))]
    assert "recovery-split" not in kinds


def test_a_root_key_under_a_token_is_not_shared(home, folder, softhsm):  # noqa: F811
    home.ok("init", "clinic", "--key-provider", softhsm.uri(), secret=PIN.encode())
    refuses_to_split(home, folder, PIN.encode(), "pkcs11")


def test_a_root_key_under_a_transit_key_is_not_shared(home, folder, bao):  # noqa: F811
    token = bao.token("broker")
    home.ok("init", "clinic", "--key-provider", bao.uri(), secret=token)
    refuses_to_split(home, folder, token, "vault")


def test_a_store_sealed_to_an_enclave_is_restored_outside(enclave, folder):  # noqa: F811
    enclave.ok("init", "clinic", "--key-provider", "sealed:mrenclave", secret=None)
    enclave.ok("key", "create", "clinic/patients", secret=None)
    enclave.ok(*SPLIT, "-o", "clinic.set", secret=None)
    shutil.copyfile(enclave.path / "store.db", folder / "store.db")
    new = Home(folder / "new")
    for name in ("ana", "ben"):
        answer(new, name)
    assert restore(new, secret=b"short").returncode == 64
    assert restore(new, secret=None).returncode == 64
    said = restore(new, secret=b"a new passphrase")
    assert said.returncode == 0, said.stderr
    assert "clinic/patients" in new.ok("key", "list", "--json", secret=b"a new passphrase")


def test_a_store_is_restored_into_another_enclave(enclave, folder):  # noqa: F811
    enclave.ok("init", "clinic", "--key-provider", "sealed:mrenclave", secret=None)
    enclave.ok("key", "create", "clinic/patients", secret=None)
    enclave.ok(*SPLIT, "-o", "clinic.set", secret=None)
    shutil.copyfile(enclave.path / "store.db", folder / "store.db")
    (folder / "attestation/keys/_sgx_mrenclave").write_bytes(b"another machine.")
    assert enclave("key", "list", secret=None).returncode == 90
    new = Home(folder / "new", enclave.inside)
    for name in ("ana", "ben"):
        answer(new, name)
    said = restore(new, "--key-provider", "sealed:mrenclave", secret=None)
    assert said.returncode == 0, said.stderr
    assert "clinic/patients" in new.ok("key", "list", "--json", secret=None)
    assert not (new.path / "root.json").exists()


def test_a_store_is_restored_under_a_token(home, folder, softhsm):  # noqa: F811
    home.ok("init", "clinic", secret=b"old passphrase")
    home.ok(*SPLIT, "-o", "clinic.set", secret=b"old passphrase")
    shutil.copyfile(home.path / "store.db", folder / "store.db")
    new = Home(folder / "new")
    for name in ("ana", "ben"):
        answer(new, name)
    said = restore(new, "--key-provider", softhsm.uri(), secret=b"999999")
    assert (said.returncode, new.path.exists()) == (96, False), said.stderr
    said = restore(new, "--key-provider", softhsm.uri(), secret=PIN.encode())
    assert said.returncode == 0, said.stderr
    new.ok("key", "list", secret=PIN.encode())
    assert new("key", "list", secret=b"old passphrase").returncode == 96


@pytest.mark.parametrize(("typed", "given"), [("y", True), ("n", False), ("", False), ("yeah", False)])
def test_an_owner_is_asked_for_whom_the_answer_is(home, folder, typed, given):  # noqa: F811
    home.ok("init", "clinic", secret=b"old passphrase")
    home.ok(*SPLIT, "-o", "clinic.set", secret=b"old passphrase")
    read, write = os.pipe()
    os.write(write, PASSPHRASE)
    os.close(write)
    keyboard, terminal = pty.openpty()
    command = ["recovery", "answer", "clinic.set", "--key", "ana.key", "--to", "machine.pem"]
    try:
        process = subprocess.Popen(
            [*CONFIDE, "--passphrase-fd", str(read), *command],
            pass_fds=(read,),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(keyboard, f"{typed}\n".encode())
        out, err = process.communicate()
    finally:
        for each in (read, keyboard, terminal):
            os.close(each)
    assert fingerprint("machine") in err
    assert "tell you the same?" in err
    assert out[:1] == ("{" if given else "")
    assert process.returncode == (0 if given else 1), err
    if given:
        assert json.loads(out)["format"] == "confide/recovery-answer/v1"
