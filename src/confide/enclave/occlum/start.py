"""Start an enclave of Occlum: an instance that `occlum build` made, in a folder of its own for each run.

Occlum keeps what a run writes in the instance's folder. So each run gets a new one, with links to what was built.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from confide.attestation.claims import Tee
from confide.enclave.launcher import Launched, started_by
from confide.enclave.libos import OCCLUM
from confide.enclave.occlum.render import CONFIGURATION, START
from confide.enclave.verify import VerifiedImage
from confide.errors import FileChanged, InvalidImage, MissingDependency, Misuse

FOLDER = "occlum"
"""Folder of an image folder, beside `root/`, that holds the instance."""

STATUS, MODE = ".__occlum_status", ".sgx_mode"
HARDWARE, SIMULATION = "HW", "SIM"
_BUILT = ("build", "initfs", CONFIGURATION, MODE)
_WRITTEN = ("run/mount/__ROOT", "run/initfs/__ROOT")
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class OcclumEnclave:
    """A built instance (`confide.enclave.run.LibosEnclave`).

    Attributes:
        instance: its folder.
    """

    instance: Path
    libos: ClassVar[str] = OCCLUM

    @contextlib.contextmanager
    def start(
        self,
        verified: VerifiedImage,  # noqa: ARG002 - what runs is the instance's copy of it, which Occlum measures
        tee: str,
        parameters: Mapping[str, str],
        data_root: Path,
        scratch: Path | None = None,
    ) -> Iterator[Launched]:
        """Start it, and remove afterwards what it wrote.

        Args:
            verified: the image that it was made of.
            tee: kind of TEE, for the agent.
            parameters: launch parameters.
            data_root: folder of the host.
            scratch: folder for what it writes, encrypted; None: the system's place for temporary files.
        """
        with tempfile.TemporaryDirectory(prefix="confide-enclave-", dir=scratch) as text:
            folder = Path(text)
            lay_out(folder, self.instance, data_root)
            boot = {"tee": tee, "launch": dict(parameters)}
            with started_by(["occlum", "run", START], folder, boot) as launched:
                yield launched


def open_instance(image: Path, configuration: bytes, tee: str) -> OcclumEnclave:
    """Return the instance beside an image.

    Args:
        image: its folder.
        configuration: the `Occlum.json` that the image makes.
        tee: that it is to run under.

    Raises:
        MissingDependency: Occlum is not installed.
        InvalidImage: there is no instance, or it is not built.
        FileChanged: it was built by another configuration.
        Misuse: it was built for a machine with SGX and is to be simulated, or the other way round.
    """
    if shutil.which("occlum") is None:
        raise MissingDependency("occlum is not installed: see occlum.io")
    instance = image / FOLDER
    try:
        mode = (instance / MODE).read_text("ascii", "replace").strip()
        with (instance / CONFIGURATION).open("rb") as file:
            found = file.read(_MAX_BYTES)
    except OSError as error:
        raise InvalidImage(
            f"{instance} is no built instance of Occlum ({error.strerror}): docs/enclaves.md says how to make one"
        ) from None
    if found != configuration:
        raise FileChanged(f"{instance / CONFIGURATION} is not the configuration that this image makes")
    if (wanted := HARDWARE if tee == Tee.SGX else SIMULATION) != mode:
        raise Misuse(f"{instance} was built for mode {mode!r}; the TEE {tee} takes one built for {wanted}")
    return OcclumEnclave(instance)


def lay_out(folder: Path, instance: Path, data_root: Path) -> None:
    """Make of `folder` an instance that has not run yet."""
    for name in _BUILT:
        (folder / name).symlink_to((instance / name).resolve())
    for name in _WRITTEN:
        (folder / name).mkdir(mode=0o700, parents=True)
    (folder / STATUS).write_text("built\n")
    (folder / "data").symlink_to(data_root.resolve())
