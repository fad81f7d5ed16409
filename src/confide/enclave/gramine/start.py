"""Start an enclave of Gramine: on SGX, or without it, where Gramine protects nothing but refuses the same.

A folder of links is laid out as the manifest names it; what they lead to is checked by hash when it is opened,
except the data root, which holds what is encrypted.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from confide.attestation.claims import Tee
from confide.enclave.image import IMAGE_FILE, ROOT_FOLDER
from confide.enclave.launcher import Launched, started_by
from confide.enclave.libos import GRAMINE
from confide.enclave.verify import VerifiedImage

NAME = "enclave"
"""Of the manifest, the signature and the argument of Gramine's starter."""


@dataclass(frozen=True)
class GramineEnclave:
    """What makes an image an enclave of Gramine on this machine (`confide.enclave.run.LibosEnclave`).

    Attributes:
        gramine: folder of the installed Gramine.
        manifest: as it is measured.
        signature: SIGSTRUCT of that manifest; None: it can only start without SGX.
    """

    gramine: Path
    manifest: bytes
    signature: bytes | None = None
    libos: ClassVar[str] = GRAMINE

    @contextlib.contextmanager
    def start(
        self,
        verified: VerifiedImage,
        tee: str,
        parameters: Mapping[str, str],
        data_root: Path,
        scratch: Path | None = None,
    ) -> Iterator[Launched]:
        """Start it, and remove afterwards what it left in its scratch space.

        Args:
            verified: the image that it was made for.
            tee: kind of TEE, for the agent.
            parameters: launch parameters.
            data_root: folder of the host.
            scratch: folder for encrypted scratch space; None: the system's place for temporary files.
        """
        with tempfile.TemporaryDirectory(prefix="confide-enclave-", dir=scratch) as text:
            folder = Path(text)
            lay_out(folder, verified.folder, self.gramine, data_root)
            program = "gramine-sgx" if tee == Tee.SGX else "gramine-direct"
            ending = "manifest.sgx" if tee == Tee.SGX else "manifest"
            (folder / f"{NAME}.{ending}").write_bytes(self.manifest)
            if self.signature is not None:
                (folder / f"{NAME}.sig").write_bytes(self.signature)
            with started_by([program, NAME], folder, {"tee": tee, "launch": dict(parameters)}) as launched:
                yield launched


def lay_out(folder: Path, image: Path, gramine: Path, data_root: Path) -> None:
    """Put into `folder` what a manifest names."""
    (folder / ROOT_FOLDER).symlink_to((image / ROOT_FOLDER).resolve())
    (folder / IMAGE_FILE).symlink_to((image / IMAGE_FILE).resolve())
    (folder / "gramine").symlink_to(gramine.resolve())
    (folder / "data").symlink_to(data_root.resolve())
    for name in ("scratch", "view"):
        (folder / name).mkdir(mode=0o700)
