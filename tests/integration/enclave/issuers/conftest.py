"""Mounts stand-ins, and starts a software TPM filled as Azure's paravisor fills its own."""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID

STANDINS = Path(__file__).with_name("standins.py")
_PR_SET_PTRACER, _ANY = 0x59616D61, -1


@pytest.fixture
def mounted(tmp_path):
    """Return mount(kind, **settings) -> folder in which the stand-in's files are."""
    with contextlib.ExitStack() as stack:
        count = iter(range(100))

        def mount(kind, **settings):
            return stack.enter_context(_standin(tmp_path / f"mounted-{next(count)}", kind, settings))

        yield mount


@contextlib.contextmanager
def _standin(place, kind, settings):
    pytest.importorskip("mfusepy", reason="needs libfuse", exc_type=OSError)
    if not Path("/dev/fuse").exists():
        pytest.skip("needs /dev/fuse")
    ctypes.CDLL(None).prctl(
        _PR_SET_PTRACER, _ANY, 0, 0, 0
    )  # Occlum's stand-in writes into the asker's memory
    place.mkdir()
    outside = place.stat().st_dev
    process = subprocess.Popen(
        [sys.executable, str(STANDINS), kind, str(place)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        process.stdin.write(json.dumps(settings).encode())
        process.stdin.close()
        while place.stat().st_dev == outside:
            if process.poll() is not None:
                pytest.skip(f"cannot mount: {process.stderr.read().decode()[-200:]}")
            time.sleep(0.01)
        yield place
    finally:
        subprocess.run(
            [shutil.which("fusermount3") or "fusermount", "-u", "-z", str(place)],
            check=False,
            stderr=subprocess.DEVNULL,
        )
        process.stderr.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def report_data():
    return os.urandom(48) + bytes(16)


@pytest.fixture
def unused_url():
    """Where nobody answers: a port that is bound and does not listen."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture(scope="session")
def vcek_pem():
    """A certificate, as far as an issuer looks at it."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SEV-VCEK")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM).decode()


@dataclass
class SoftwareTpm:
    """A TPM in software behind the stand-in of the kernel's device.

    Attributes:
        device: what the kernel would show as /dev/tpmrm0.
        key: public key of its attestation key.
    """

    device: Path
    key: RSAPublicKey

    def tool(self, *command):
        """Run a command of tpm2-tools."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": f"device:{self.device}"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory):
    """State of a TPM with an attestation key and a place for the HCL report, where Azure has them; and that key."""
    for program, package in (("swtpm", "swtpm"), ("tpm2_createprimary", "tpm2-tools")):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program} (apt-get install {package})")
    folder = tmp_path_factory.mktemp("tpm")
    state = folder / "state"
    state.mkdir()
    with _swtpm(state, folder) as address:
        with _standin(folder / "mounted", "tpm", {"socket": address}) as place:
            tpm = SoftwareTpm(place / "tpmrm0", None)
            attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
            context, public = str(folder / "ak"), folder / "ak.pem"
            tpm.tool(
                "tpm2_createprimary",
                "-C",
                "e",
                "-G",
                "rsa2048:rsassa-sha256:null",
                "-a",
                attributes,
                "-c",
                context,
            )
            tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", context, "0x81000003")
            tpm.tool("tpm2_readpublic", "-c", "0x81000003", "-f", "pem", "-o", str(public))
            tpm.tool("tpm2_nvdefine", "0x01400001", "-C", "o", "-s", "2048", "-a", "ownerread|ownerwrite")
    return state, load_pem_public_key(public.read_bytes())


@pytest.fixture
def software_tpm(provisioned, tmp_path, mounted):
    """Return start(hcl_report, **settings) -> SoftwareTpm; every one starts from the same state."""
    state, key = provisioned
    with contextlib.ExitStack() as stack:

        def start(hcl_report=None, **settings):
            folder = tmp_path / f"tpm-{len(list(tmp_path.iterdir()))}"
            shutil.copytree(state, folder / "state")
            address = stack.enter_context(_swtpm(folder / "state", folder))
            tpm = SoftwareTpm(mounted("tpm", socket=address) / "tpmrm0", key)
            if hcl_report is not None:
                content = folder / "hcl"
                content.write_bytes(hcl_report.ljust(2048, b"\0"))
                tpm.tool("tpm2_nvwrite", "0x01400001", "-C", "o", "-i", str(content))
            for pcr in (0, 4, 7, 9, 11):
                tpm.tool("tpm2_pcrextend", f"{pcr}:sha256={pcr + 1:064x}")
            return (
                SoftwareTpm(mounted("tpm", socket=address, **settings) / "tpmrm0", key) if settings else tpm
            )

        yield start


@contextlib.contextmanager
def _swtpm(state, folder):
    address = str(folder / "socket")
    flags = ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(
        [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            f"dir={state}",
            "--server",
            f"type=unixio,path={address}",
            *flags,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not Path(address).exists():
            assert process.poll() is None, "swtpm ended"
            time.sleep(0.01)
        yield address
    finally:
        process.terminate()
        process.wait(20)
