"""Sign the enclave of an image: Gramine measures it, the author's key signs here.

Gramine's tool wants a key that it can read. It gets one made for the purpose; of what it writes the measurement is
kept, which does not depend on the key, and key and signature are put in place of its own.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from confide.attestation.intel.sigstruct import Sigstruct, verify_sigstruct
from confide.attestation.intel.sigstruct_signing import AuthorKey, sign_sigstruct
from confide.enclave.gramine.installation import check_version, run_tool
from confide.enclave.gramine.start import NAME
from confide.errors import AlreadyExists, FileChanged, InvalidFormat, InvalidImage, StorageUnavailable

FOLDER = "gramine"
"""Folder of an image folder, beside `root/`, that holds manifest and signature."""

MAX_MANIFEST_BYTES = 64 * 1024 * 1024
_DATE = "0000-00-00"


@dataclass(frozen=True)
class Measured:
    """A manifest as Gramine completes and measures it.

    Attributes:
        manifest: the measured bytes.
        sigstruct: SIGSTRUCT of it, signed by a key of no meaning.
    """

    manifest: bytes
    sigstruct: bytes


@dataclass(frozen=True)
class Signed:
    """What lies beside an image, with its signature verified.

    Attributes:
        manifest: the measured bytes.
        signature: the SIGSTRUCT's bytes.
        sigstruct: what it says.
    """

    manifest: bytes
    signature: bytes
    sigstruct: Sigstruct


def measure(manifest: bytes) -> Measured:
    """Have Gramine complete and measure a manifest.

    Raises:
        MissingDependency: its tools are not installed, or refuse.
    """
    check_version()
    with tempfile.TemporaryDirectory(prefix="confide-sign-") as text:
        folder = Path(text)
        (folder / f"{NAME}.manifest").write_bytes(manifest)
        (folder / "key.pem").write_bytes(_passing_key())
        run_tool(
            [
                *("gramine-sgx-sign", "--quiet", "--date", _DATE, "--key", "key.pem"),
                *("--manifest", f"{NAME}.manifest", "--output", f"{NAME}.manifest.sgx"),
                *("--sigfile", f"{NAME}.sig"),
            ],
            cwd=folder,
        )
        return Measured((folder / f"{NAME}.manifest.sgx").read_bytes(), (folder / f"{NAME}.sig").read_bytes())


def sign(image: Path, manifest: bytes, key: AuthorKey) -> Signed:
    """Measure, sign, and write manifest and signature beside the image.

    Raises:
        AlreadyExists: the image is signed already.
        MissingDependency: Gramine's tools are not installed, or refuse.
        StorageUnavailable: they cannot be written.
    """
    folder = image / FOLDER
    if folder.exists():
        raise AlreadyExists(f"{folder} exists already: this image is signed")
    measured = measure(manifest)
    signature = sign_sigstruct(measured.sigstruct, key)
    sigstruct = verify_sigstruct(signature)
    try:
        folder.mkdir()
        (folder / f"{NAME}.manifest.sgx").write_bytes(measured.manifest)
        (folder / f"{NAME}.sig").write_bytes(signature)
    except OSError as error:
        raise StorageUnavailable(f"signature in {folder}: {error.strerror}") from None
    return Signed(measured.manifest, signature, sigstruct)


def read_signed(image: Path) -> Signed:
    """Return what lies beside an image, with the signature verified; what it is of is not looked at.

    Raises:
        InvalidImage: it is not signed, or what is there is no signature.
        EvidenceRefused: the signature does not hold.
    """
    folder = image / FOLDER
    try:
        signature = _read(folder / f"{NAME}.sig", 4096)
        return Signed(
            _read(folder / f"{NAME}.manifest.sgx", MAX_MANIFEST_BYTES), signature, verify_sigstruct(signature)
        )
    except OSError as error:
        raise InvalidImage(
            f"{image} is not signed for Gramine ({error.strerror}): `confide image sign`"
        ) from None
    except InvalidFormat as error:
        raise InvalidImage(str(error)) from None


def check_measured(signed: Signed, measured: Measured) -> None:
    """Return if a signature is of what was measured here.

    Raises:
        FileChanged: it is of another enclave.
    """
    here, there = verify_sigstruct(measured.sigstruct), signed.sigstruct
    for name in ("mrenclave", "isv_prod_id", "isv_svn", "attributes", "misc_select"):
        if here.fields[name] != there.fields[name]:
            raise FileChanged(
                f"the signature is of another enclave than this image and this Gramine make: {name} differs"
            )
    if signed.manifest != measured.manifest:
        raise FileChanged("the manifest beside the image is not the one that was signed")


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidImage(f"{path} has more than {limit} bytes")
    return data


def _passing_key() -> bytes:
    key = generate_private_key(public_exponent=3, key_size=3072)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
