"""Start an enclave of Gramine: on SGX, or without it, where Gramine protects nothing but refuses the same.

A folder of links is laid out as the manifest names it; what they lead to is checked by hash when it is opened,
except the data root, which holds what is encrypted.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from confide.attestation.claims import Tee
from confide.enclave.image import IMAGE_FILE, ROOT_FOLDER
from confide.enclave.launcher import Launched, collect_output
from confide.enclave.verify import VerifiedImage

NAME = "enclave"
"""Of the manifest, the signature and the argument of Gramine's starter."""


@dataclass(frozen=True)
class EnclaveImage:
    """What makes an image an enclave on this machine.

    Attributes:
        gramine: folder of the installed Gramine.
        manifest: as it is measured.
        signature: SIGSTRUCT of that manifest; None: it can only start without SGX.
    """

    gramine: Path
    manifest: bytes
    signature: bytes | None = None


@contextlib.contextmanager
def start(
    verified: VerifiedImage,
    enclave: EnclaveImage,
    tee: str,
    parameters: Mapping[str, str],
    data_root: Path,
    scratch: Path | None = None,
) -> Iterator[Launched]:
    """Start the enclave of a verified image, and remove afterwards what it left in its scratch space.

    Args:
        verified: the image.
        enclave: made for that image.
        tee: kind of TEE, for the agent.
        parameters: launch parameters.
        data_root: folder of the host.
        scratch: folder for encrypted scratch space; None: the system's place for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="confide-enclave-", dir=scratch) as text:
        folder = Path(text)
        lay_out(folder, verified.folder, enclave.gramine, data_root)
        program = "gramine-sgx" if tee == Tee.SGX else "gramine-direct"
        ending = "manifest.sgx" if tee == Tee.SGX else "manifest"
        (folder / f"{NAME}.{ending}").write_bytes(enclave.manifest)
        if enclave.signature is not None:
            (folder / f"{NAME}.sig").write_bytes(enclave.signature)
        control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with inner:
            process = subprocess.Popen(
                [program, NAME],
                stdin=inner.fileno(),
                stdout=inner.fileno(),
                stderr=subprocess.PIPE,
                cwd=folder,
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        assert process.stderr is not None
        boot = {"tee": tee, "launch": dict(parameters)}
        with contextlib.suppress(BrokenPipeError):  # it ended already; its exit code tells
            control.sendall(json.dumps(boot).encode() + b"\n")
        yield Launched(process, control, collect_output(process.stderr))


def lay_out(folder: Path, image: Path, gramine: Path, data_root: Path) -> None:
    """Put into `folder` what a manifest names."""
    (folder / ROOT_FOLDER).symlink_to((image / ROOT_FOLDER).resolve())
    (folder / IMAGE_FILE).symlink_to((image / IMAGE_FILE).resolve())
    (folder / "gramine").symlink_to(gramine.resolve())
    (folder / "data").symlink_to(data_root.resolve())
    for name in ("scratch", "view"):
        (folder / name).mkdir(mode=0o700)
