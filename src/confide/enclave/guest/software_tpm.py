"""A TPM 2.0 in software (swtpm) for the guests of a home. Whoever may read its folder can sign as it.

It begins anew with every guest, as a TPM does with every boot; what stays is the seed of its attestation key.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confide.enclave.issuers.kernel_files import asking
from confide.enclave.issuers.tpm import key_der
from confide.enclave.issuers.tpm_device import Tpm
from confide.errors import MissingDependency, StorageUnavailable, Unavailable

STATE = "tpm"
"""Folder of a home that holds the TPM's state."""

_START_SECONDS = 20.0


def attestation_key(home: Path) -> bytes:
    """Return the attestation key (DER) of this home's TPM, making the TPM on first use.

    Raises:
        MissingDependency: swtpm is not installed.
        Unavailable: it does not start, for instance as a guest has it.
        AttestationRefused: it makes no key.
    """
    with (
        _swtpm(home, "server", "not-need-init,startup-clear") as address,
        asking("the software TPM"),
        socket.socket(socket.AF_UNIX) as channel,
    ):
        channel.connect(str(address))
        with Tpm(channel.fileno()).attestation_key() as (_, key):
            return key_der(key)


@contextlib.contextmanager
def tpm_for_guest(home: Path) -> Iterator[Path]:
    """Yield the socket by which QEMU attaches this home's TPM to a guest (`-tpmdev emulator`).

    Raises: as `attestation_key`.
    """
    with _swtpm(home, "ctrl", "") as address:
        yield address


@contextlib.contextmanager
def _swtpm(home: Path, socket_kind: str, flags: str) -> Iterator[Path]:
    if shutil.which("swtpm") is None:
        raise MissingDependency("a guest's TPM is swtpm, which is not installed (apt-get install swtpm)")
    state = home / STATE
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"software TPM in {state}: {error.strerror}") from None
    with tempfile.TemporaryDirectory(prefix="confide-tpm-") as text:
        address = Path(text) / "socket"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state.resolve()},mode=0600"]
        command += [f"--{socket_kind}", f"type=unixio,path={address}", *(["--flags", flags] if flags else [])]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, address)
            yield address
        finally:
            process.terminate()
            process.communicate()


def _wait(process: subprocess.Popen[bytes], address: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not address.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = process.communicate()[0].decode(errors="replace").strip()
            raise Unavailable(
                f"swtpm did not start; another guest of this home may be running. {said}".strip()
            )
        time.sleep(0.01)
