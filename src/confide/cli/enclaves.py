"""From an image to an enclave of a library OS, for the commands that sign, measure, approve and run one."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confide.attestation.claims import Tee
from confide.errors import InvalidImage, MissingDependency, Misuse

if TYPE_CHECKING:
    from confide.attestation.intel.sigstruct_signing import AuthorKey
    from confide.cli.programs import BuiltImage
    from confide.enclave.enclave_needs import EnclaveNeeds
    from confide.enclave.gramine.sign import Signed
    from confide.enclave.image import Image
    from confide.enclave.run import LibosEnclave


def needs_of(image: Image) -> EnclaveNeeds:
    """Return what an image needs of an enclave.

    Raises:
        InvalidImage: its profile has no rule for that.
    """
    from confide.cli.programs import ENCLAVE_NEEDS

    if image.profile not in ENCLAVE_NEEDS:
        raise InvalidImage(f"images of the profile {image.profile} do not run under a library OS")
    return ENCLAVE_NEEDS[image.profile](image)


def enclave_for_run(built: BuiltImage, tee: str, libos: str) -> LibosEnclave:
    """Return the enclave that runs an image here: what was signed or built of it; without SGX one of Gramine made now.

    Raises:
        InvalidImage: it is not signed, or built; or it makes no enclave.
        FileChanged, Misuse: what was built is of another image, or for another TEE.
        MissingDependency: the library OS is not installed, or this machine cannot run the enclave.
    """
    from confide.enclave.gramine.build import unsigned_enclave
    from confide.enclave.gramine.installation import find_gramine
    from confide.enclave.gramine.sign import read_signed
    from confide.enclave.gramine.start import GramineEnclave
    from confide.enclave.libos import OCCLUM
    from confide.enclave.occlum.render import configuration, configuration_json
    from confide.enclave.occlum.start import open_instance

    if libos == OCCLUM:
        made = configuration_json(configuration(built.image, needs_of(built.image)))
        return open_instance(built.folder, made, tee)
    installed = find_gramine()
    if tee != Tee.SGX:
        return unsigned_enclave(built.image, needs_of(built.image), installed)
    signed = read_signed(built.folder)
    check_machine(signed, needs_of(built.image).processes)
    return GramineEnclave(installed.folder, signed.manifest, signed.signature)


def rendered(folder: Path, libos: str) -> dict[str, bytes]:
    """Return what a library OS is told of a verified image: name of a file -> its content.

    Raises:
        Misuse: no library OS of that name.
        InvalidImage, Tampered: it is no image, or makes no enclave.
        MissingDependency: Gramine, whose files its manifest names by hash, is not installed.
    """
    from confide.enclave.gramine.installation import find_gramine
    from confide.enclave.gramine.manifest import manifest, manifest_toml
    from confide.enclave.gramine.start import NAME
    from confide.enclave.libos import GRAMINE, LIBOSES, OCCLUM
    from confide.enclave.occlum.render import (
        CONFIGURATION,
        START_FILE,
        bom,
        bom_yaml,
        configuration,
        configuration_json,
        start_script,
    )
    from confide.enclave.verify import verify_image

    if libos not in LIBOSES:
        raise Misuse(f"no library OS called {libos!r} (there are: {', '.join(LIBOSES)})")
    image = verify_image(folder).image
    needs = needs_of(image)
    if libos == OCCLUM:
        return {
            CONFIGURATION: configuration_json(configuration(image, needs)),
            "bom.yaml": bom_yaml(bom(image)),
            START_FILE: start_script(image),
        }
    assert libos == GRAMINE
    return {f"{NAME}.manifest": manifest_toml(manifest(image, find_gramine().runtime, needs))}


def sign_image(folder: Path, key: AuthorKey, *, edmm: bool, product_id: int) -> Signed:
    """Verify an image and sign it as an enclave.

    Raises:
        InvalidImage, Tampered: it is no image, or makes no enclave.
        AlreadyExists: it is signed.
        MissingDependency: Gramine is not installed.
    """
    from confide.enclave.gramine.installation import find_gramine
    from confide.enclave.gramine.manifest import manifest, manifest_toml
    from confide.enclave.gramine.sign import sign
    from confide.enclave.verify import verify_image

    image = verify_image(folder).image
    runtime = find_gramine().runtime
    made = manifest(image, runtime, needs_of(image), edmm=edmm, product_id=product_id)
    return sign(folder, manifest_toml(made), key)


def measured_here(folder: Path) -> Signed:
    """Return the signature beside an image, after everything that it says was measured again here.

    Raises:
        InvalidImage, Tampered: it is no image, is not signed, or the signature is of another enclave than this image
            and the installed Gramine make.
        EvidenceRefused: the signature does not hold.
        MissingDependency: Gramine is not installed.
    """
    import tomllib

    from confide.enclave.gramine.installation import find_gramine
    from confide.enclave.gramine.manifest import manifest, manifest_toml
    from confide.enclave.gramine.sign import check_measured, measure, read_signed
    from confide.enclave.verify import verify_image

    image, signed = verify_image(folder).image, read_signed(folder)
    try:
        sgx = tomllib.loads(signed.manifest.decode())["sgx"]
        edmm, product_id = bool(sgx["edmm_enable"]), int(sgx["isvprodid"])
    except (ValueError, KeyError, TypeError):
        raise InvalidImage(f"the manifest beside {folder} is not one of Gramine") from None
    runtime = find_gramine().runtime
    made = manifest(image, runtime, needs_of(image), edmm=edmm, product_id=product_id)
    check_measured(signed, measure(manifest_toml(made)))
    return signed


def enclave_identity(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return MRENCLAVE, and what else a policy demands of the enclave of a signed image; all measured again here.

    Raises:
        as `measured_here`.
    """
    said = measured_here(folder).sigstruct
    platform = {
        "status": ["UpToDate"],
        "isv_prod_id": said.number("isv_prod_id"),
        "registers": {"mrsigner": [said.mrsigner.hex()]},
    }
    return said.octets("mrenclave").hex(), platform


def check_machine(signed: Signed, processes: int) -> None:
    """Return if this machine can hold a signed enclave.

    Raises:
        MissingDependency: its kernel adds no memory to a running enclave that wants it, or it has less memory than the
            enclaves of all processes take; says the numbers.
    """
    import os
    import tomllib

    from confide.enclave.gramine.schema import size_bytes
    from confide.enclave.gramine.sizes import edmm_possible

    sgx = tomllib.loads(signed.manifest.decode())["sgx"]
    if sgx["edmm_enable"]:
        if not edmm_possible(kernel_version(platform.release())):
            raise MissingDependency(
                f"the enclave was signed with --edmm, for Linux 6.0 or newer; this is {platform.release()}"
            )
        return
    wanted = size_bytes(sgx["enclave_size"]) * processes
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > there:
        raise MissingDependency(
            f"{processes} processes of {sgx['enclave_size']} each take {wanted / 2**30:.0f} GiB from the start, this "
            f"machine has {there / 2**30:.0f}: build with less --memory, or sign with --edmm"
        )


def kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor version of a kernel's release."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)
