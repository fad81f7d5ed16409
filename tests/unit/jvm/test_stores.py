"""Key stores of a member: what Java's own tool finds in them."""

from __future__ import annotations

import datetime
import stat
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from confide.broker.mesh_certificate import Member, issue_member, job_authority
from confide.broker.mesh_member import MeshIdentity
from confide.jvm.stores import write_own_stores, write_stores

SECRET = "ab" * 32

pytestmark = pytest.mark.exhaustive  # starts Java


@pytest.fixture(scope="module")
def identity():
    now = int(time.time())
    key, authority = ec.generate_private_key(ec.SECP256R1()), job_authority("1" * 32, now)
    member = Member("d" * 64, "1" * 32, "executor")
    certificate = issue_member(authority, key.public_key(), member, now, now + 60)
    return MeshIdentity(member, key, certificate, authority.certificate, SECRET)


def listed(path, password):
    done = subprocess.run(
        ["keytool", "-list", "-keystore", path, "-storepass:env", "SECRET"],
        env={"SECRET": password, "PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
    )
    return done.stdout


def test_java_finds_the_key_in_one_and_one_authority_in_the_other(identity, tmp_path):
    stores = write_stores(identity, tmp_path)
    assert "PrivateKeyEntry" in listed(stores.key, SECRET)
    trusted = listed(stores.trust, SECRET)
    assert "contains 1 entry" in trusted
    assert "trustedCertEntry" in trusted
    assert "PrivateKeyEntry" not in trusted


def test_a_process_that_speaks_to_itself_trusts_its_own_certificate_alone(tmp_path):
    stores = write_own_stores(datetime.datetime.now(datetime.UTC), tmp_path)
    certificates = []
    for path in (stores.key, stores.trust):
        opened = pkcs12.load_pkcs12(path.read_bytes(), stores.secret.encode())
        certificates += [opened.cert or opened.additional_certs[0]]
        assert len(opened.additional_certs) + (opened.cert is not None) == 1
    assert certificates[0].certificate == certificates[1].certificate
    assert "PrivateKeyEntry" in listed(stores.key, stores.secret)
    trusted = listed(stores.trust, stores.secret)
    assert "trustedCertEntry" in trusted
    assert "PrivateKeyEntry" not in trusted


def test_each_run_has_its_own(tmp_path):
    now = datetime.datetime.now(datetime.UTC)
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    one, other = (write_own_stores(now, folder) for folder in folders)
    assert one.secret != other.secret
    for path in (other.key, other.trust):
        assert "Entry" not in listed(path, one.secret)


def test_another_password_opens_neither(identity, tmp_path):
    stores = write_stores(identity, tmp_path)
    for path in (stores.key, stores.trust):
        assert "Entry" not in listed(path, "cd" * 32)


def test_they_are_closed_to_others_and_written_once(identity, tmp_path):
    stores = write_stores(identity, tmp_path)
    for path in (stores.key, stores.trust):
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    with pytest.raises(FileExistsError):
        write_stores(identity, tmp_path)
