"""Signing and measuring with Gramine's real tools, which need no SGX. Skipped where they are not installed."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from confide.cli.enclaves import check_machine, enclave_for_run, enclave_identity, measured_here, sign_image
from confide.cli.programs import BuiltImage
from confide.enclave.gramine.installation import check_version
from confide.enclave.gramine.sign import FOLDER, read_signed
from confide.enclave.gramine.start import NAME
from confide.enclave.image import Limits, measurement
from confide.errors import AlreadyExists, EvidenceRefused, FileChanged, InvalidImage, MissingDependency
from confide.keys.author_key import FileKey
from confide.python.image_spec import image_profile


def _missing() -> str | None:
    try:
        check_version()
    except MissingDependency as missing:
        return str(missing)
    return None if shutil.which("gramine-sgx-sign") else "gramine-sgx-sign is not on the PATH"


_MISSING = _missing()
pytestmark = [
    pytest.mark.gramine,
    pytest.mark.skipif(_MISSING is not None, reason=f"needs Gramine 1.9: {_MISSING}"),
]
LIMITS = Limits(memory_mib=256, scratch_mib=64, cores=1)


@pytest.fixture(scope="module")
def key():
    return FileKey(rsa.generate_private_key(3, 3072))


@pytest.fixture(scope="module")
def image(site, tmp_path_factory):
    """A folder with the image of a small program."""
    site.broker("signing")
    site.build("print('hello')", dataclasses.replace(image_profile(), limits=LIMITS))
    return site.folder


@pytest.fixture
def copy(image, tmp_path):
    return lambda name: shutil.copytree(image, tmp_path / name, symlinks=True)


@pytest.fixture(scope="module")
def signed(image, key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed") / "image"
    shutil.copytree(image, folder)
    sign_image(folder, key, edmm=False, product_id=7)
    return folder


def test_what_is_signed_is_measured_here_again(signed, key):
    found = measured_here(signed).sigstruct
    assert (found.number("isv_prod_id"), found.number("isv_svn"), found.debug) == (7, 0, False)
    mrenclave, platform = enclave_identity(signed)
    assert mrenclave == found.octets("mrenclave").hex()
    assert platform["registers"] == {"mrsigner": [found.mrsigner.hex()]}


def test_two_folders_and_two_authors_make_the_same_enclave(signed, copy):
    other = copy("elsewhere")
    again = sign_image(other, FileKey(rsa.generate_private_key(3, 3072)), edmm=False, product_id=7)
    first = read_signed(signed)
    assert again.manifest == first.manifest
    assert again.sigstruct.octets("mrenclave") == first.sigstruct.octets("mrenclave")
    assert again.sigstruct.mrsigner != first.sigstruct.mrsigner


def test_edmm_is_another_measurement(signed, copy, key):
    other = sign_image(copy("edmm"), key, edmm=True, product_id=7)
    assert other.sigstruct.octets("mrenclave") != read_signed(signed).sigstruct.octets("mrenclave")


def test_an_image_is_signed_once(signed, key):
    with pytest.raises(AlreadyExists):
        sign_image(signed, key, edmm=False, product_id=7)


def test_a_changed_signature_is_refused(signed, tmp_path):
    folder = shutil.copytree(signed, tmp_path / "image")
    path = folder / FOLDER / f"{NAME}.sig"
    raw = bytearray(path.read_bytes())
    raw[960] ^= 1  # MRENCLAVE
    path.write_bytes(raw)
    with pytest.raises(EvidenceRefused, match="did not sign"):
        measured_here(folder)
    path.write_bytes(b"nothing")
    with pytest.raises(EvidenceRefused):
        measured_here(folder)


def test_a_changed_manifest_is_refused(signed, tmp_path):
    folder = shutil.copytree(signed, tmp_path / "image")
    path = folder / FOLDER / f"{NAME}.manifest.sgx"
    path.write_bytes(path.read_bytes() + b"\n# changed\n")
    with pytest.raises(FileChanged, match="manifest"):
        measured_here(folder)


def test_the_signature_of_another_image_is_refused(site, signed, tmp_path):
    site.build("print('other')", dataclasses.replace(image_profile(), limits=LIMITS))
    other = shutil.copytree(site.folder, tmp_path / "other")
    shutil.copytree(signed / FOLDER, other / FOLDER)
    with pytest.raises(FileChanged, match="mrenclave differs"):
        measured_here(other)


def test_an_image_that_is_not_signed_does_not_start_on_sgx(site, image):
    built = BuiltImage(image, site.image, measurement(site.image))
    with pytest.raises(InvalidImage, match="confide image sign"):
        enclave_for_run(built, "sgx", "gramine")


def test_an_enclave_that_the_machine_cannot_hold(signed):
    with pytest.raises(MissingDependency, match=r"processes of \d+M each take .* GiB from the start"):
        check_machine(read_signed(signed), 100_000)
