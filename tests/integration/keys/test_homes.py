"""Homes whose root key a provider protects, from `confide init` on, as a user drives it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import PIN

CONFIDE = [sys.executable, "-m", "confide"]


@dataclass(frozen=True)
class Home:
    """Runs commands in processes of their own, the secret on a descriptor."""

    path: Path
    inside: tuple[str, ...] = ()

    def __call__(self, *arguments: str, secret: bytes | None) -> subprocess.CompletedProcess[str]:
        command, descriptors = [*self.inside, *CONFIDE, "--home", str(self.path)], ()
        if secret is not None:
            read, write = os.pipe()
            os.write(write, secret)
            os.close(write)
            command, descriptors = [*command, "--passphrase-fd", str(read)], (read,)
        try:
            return subprocess.run(
                [*command, *arguments],
                pass_fds=descriptors,
                text=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
            )
        finally:
            for each in descriptors:
                os.close(each)

    def ok(self, *arguments: str, secret: bytes | None) -> str:
        said = self(*arguments, secret=secret)
        assert said.returncode == 0, said.stderr
        return said.stdout


@pytest.fixture
def home(tmp_path) -> Home:
    return Home(tmp_path / "home")


def wrapped_root(home: Home) -> bytes:
    with sqlite3.connect(home.path / "store.db") as database:
        return database.execute("SELECT value FROM meta WHERE name = 'root'").fetchone()[0]


def test_a_home_under_a_token(home, softhsm):
    pin = PIN.encode()
    home.ok("init", "clinic", "--key-provider", softhsm.uri(), secret=pin)
    home.ok("key", "create", "clinic/patients", secret=pin)
    assert "clinic/patients" in home.ok("key", "list", "--json", secret=pin)
    assert not (home.path / "root.json").exists()
    assert (home.path / "key-provider").read_text() == softhsm.uri() + "\n"
    assert (home.path / "key-provider").stat().st_mode & 0o777 == 0o600
    assert len(wrapped_root(home)) == 12 + 32 + 16
    said = home("key", "list", secret=b"999999")
    assert (said.returncode, "refuses the PIN" in said.stderr) == (96, True), said.stderr
    said = home("key", "list", secret=None)
    assert (said.returncode, "PIN" in said.stderr) == (64, True), said.stderr


def test_a_home_under_a_transit_key(home, bao):
    token = bao.token("broker")
    home.ok("init", "clinic", "--key-provider", bao.uri(), secret=token)
    home.ok("key", "create", "clinic/patients", secret=bao.token("decrypt-only"))
    assert wrapped_root(home).startswith(b"vault:v1:")
    said = home("key", "list", secret=b"s.expired")
    assert (said.returncode, "denies" in said.stderr) == (99, True), said.stderr
    assert "hint: docs/key-providers.md" in said.stderr


def test_a_role_logs_in_once_for_a_new_home(home, bao):
    bao.call("POST", "auth/approle/role/once", {"token_policies": "broker", "secret_id_num_uses": 1})
    role = bao.call("GET", "auth/approle/role/once/role-id")["data"]["role_id"]
    secret = bao.call("POST", "auth/approle/role/once/secret-id", {})["data"]["secret_id"].encode()
    home.ok("init", "--key-provider", bao.uri(role=role), secret=secret)
    assert home("key", "list", secret=secret).returncode == 96


def test_a_provider_swapped_for_another_is_refused(home, softhsm, bao):
    home.ok("init", "clinic", "--key-provider", softhsm.uri(), secret=PIN.encode())
    softhsm.make("swapped")
    (home.path / "key-provider").write_text(softhsm.uri("object=swapped") + "\n")
    assert home("key", "list", secret=PIN.encode()).returncode == 90
    (home.path / "key-provider").write_text(bao.uri() + "\n")
    assert home("key", "list", secret=bao.token("broker")).returncode == 90


@pytest.mark.parametrize(
    "said", ["", "\n", "file:///a b\n", "gopher://x\n", "x" * 5000, "vault://h/t/k\nvault://h/t/k\n"]
)
def test_a_damaged_record_of_the_provider(home, softhsm, said):
    home.ok("init", "--key-provider", softhsm.uri(), secret=PIN.encode())
    (home.path / "key-provider").write_text(said)
    assert home("key", "list", secret=PIN.encode()).returncode == 64


def test_a_record_that_others_may_read(home, softhsm):
    home.ok("init", "--key-provider", softhsm.uri(), secret=PIN.encode())
    (home.path / "key-provider").chmod(0o644)
    assert home("key", "list", secret=PIN.encode()).returncode == 80


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("pkcs11:token=absent;object=root?module-path={module}", 77),
        ("pkcs11:token=confide;object=absent?module-path={module}", 99),
        ("pkcs11:token=confide;object=root", 64),
        ("vault://127.0.0.1:1/transit/confide", 77),
        ("sealed:mrenclave", 77),
        ("awskms:alias/confide", 64),
    ],
)
def test_a_home_that_cannot_be_made_leaves_nothing(home, softhsm, uri, code):
    said = home("init", "--key-provider", uri.format(module=softhsm.module), secret=PIN.encode())
    assert said.returncode == code, said.stderr
    assert "hint:" in said.stderr or code == 64
    assert list(home.path.parent.iterdir()) == []


def test_a_root_key_file_elsewhere(home, tmp_path):
    (tmp_path / "stick").mkdir()
    uri = (tmp_path / "stick/root.json").as_uri()
    home.ok("init", "clinic", "--key-provider", uri, secret=b"correct horse")
    assert home("init", "--key-provider", uri, secret=b"short").returncode == 64
    (tmp_path / "stick/root.json").rename(tmp_path / "away")
    assert home("key", "list", secret=b"correct horse").returncode == 73
    (tmp_path / "away").rename(tmp_path / "stick/root.json")
    home.ok("key", "list", secret=b"correct horse")
    other = Home(tmp_path / "other")
    other.ok("init", "--key-provider", uri, secret=b"correct horse")
    assert other("key", "list", secret=b"wrong horse").returncode == 96


@pytest.fixture
def enclave(tmp_path):
    """Return a home in a mount namespace where a folder stands in for Gramine's /dev/attestation."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    (tmp_path / "attestation/keys").mkdir(parents=True)
    (tmp_path / "attestation/my_target_info").write_bytes(bytes(512))
    (tmp_path / "attestation/keys/_sgx_mrenclave").write_bytes(bytes(range(16)))
    (tmp_path / "attestation/keys/_sgx_mrsigner").write_bytes(bytes(range(1, 17)))
    inside = (
        "bwrap",
        "--bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--bind",
        f"{tmp_path}/attestation",
        "/dev/attestation",
    )
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets no mount namespace be made")
    return Home(tmp_path / "home", inside)


@pytest.mark.parametrize("kind", ["mrenclave", "mrsigner"])
def test_a_home_sealed_to_an_enclave(enclave, tmp_path, kind):
    enclave.ok("init", "clinic", "--key-provider", f"sealed:{kind}", secret=None)
    enclave.ok("key", "create", "clinic/patients", secret=None)
    assert "clinic/patients" in enclave.ok("key", "list", "--json", secret=None)
    outside = Home(enclave.path)("key", "list", secret=None)
    assert (outside.returncode, "not in an SGX enclave" in outside.stderr) == (77, True), outside.stderr
    (tmp_path / f"attestation/keys/_sgx_{kind}").write_bytes(b"another enclave.")
    assert enclave("key", "list", secret=None).returncode == 90
