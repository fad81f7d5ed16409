"""An image and the installed Gramine make an enclave that starts without SGX; `sign` makes those that are signed."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.installation import Installation
from confide.enclave.gramine.manifest import manifest, manifest_toml
from confide.enclave.gramine.start import GramineEnclave
from confide.enclave.image import Image


def unsigned_enclave(image: Image, needs: EnclaveNeeds, installed: Installation) -> GramineEnclave:
    """Return the enclave for starts without SGX.

    Raises:
        InvalidImage: the image makes no enclave.
    """
    return GramineEnclave(installed.folder, manifest_toml(manifest(image, installed.runtime, needs)))
