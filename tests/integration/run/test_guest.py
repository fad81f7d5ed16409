"""`confide run` in a confidential VM: a guest whose kernel (a stand-in of configfs-tsm) has a chip sign its reports.

The chip, and AMD above it, are made here; everything between the kernel's files and the broker's answer is the product.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.trust import HardwareTrust
from confide.broker.home import Home
from confide.broker.server import EmbeddedBroker
from confide.enclave.image import measurement
from confide.errors import CollateralUnavailable, MeasurementRefused, PlatformRefused
from confide.python.image_spec import image_profile

from ...unit.attestation.amd.synthetic import TCB, Authority, Machine
from ..enclave.issuers.conftest import _standin
from .conftest import CHEAP, Owner, Served, Site

PROGRAM = """
from pathlib import Path
import pyarrow.parquet as pq
Path("out/stays").mkdir(parents=True)
table = pq.read_table("data/patients")
pq.write_table(table.group_by("ward").aggregate([("stay", "sum")]), "out/stays/part-0.parquet")
"""
ENTER = """
mount -t tmpfs none /sys/kernel && mkdir -p /sys/kernel/config/tsm/report || exit 3
[ -z "$0" ] || mount --bind "$0" /sys/kernel/config/tsm/report || exit 3
exec "$@"
"""
PATIENTS = pa.table({"ward": ["a", "b", "a"], "stay": [1, 2, 3]})


@dataclass
class Amd:
    """Endorses one chip."""

    machine: Machine
    crl: bool = True

    def amd(self, report, given):
        if not self.crl:
            raise CollateralUnavailable("SNP report: no CRL of Milan; `confide collateral fetch` gets it")
        product = self.machine.product
        return Certificates(
            self.machine.endorsement(),
            (self.machine.intermediate, self.machine.root),
            self.machine.authority.crl(product),
        )

    def intel(self, quote):
        raise CollateralUnavailable("none")


@dataclass
class Guest:
    """A site whose machine is an SNP guest."""

    site: Site
    owner: Owner
    amd: Amd
    chip: dict

    def allow(self, **platform):
        demanded = {"registers.measurement": f'["{bytes(range(100, 148)).hex()}"]', "allow_smt": "true"}
        demanded["products"] = f'["{self.amd.machine.product}"]'
        demanded |= {
            f"minimum_tcb.{name}": str(TCB[name]) for name in ("bootloader", "tee", "snp", "microcode")
        }
        demanded |= platform
        self.owner.allow(
            self.site.image,
            ("data/patients", "read"),
            ("out/stays", "write"),
            tee="snp",
            platform="".join(f"{name} = {value}\n" for name, value in demanded.items()),
        )

    def run(self, kernel, *options):
        """Run the command line in a mount namespace where /sys/kernel/config is the stand-in."""
        served = self.site.brokers["broker1"]
        ca = self.site.root / "ca.pem"
        ca.write_text(served.ca)
        command = [sys.executable, "-m", "confide", "--home", str(self.site.host), "run", *options]
        command += ["--broker", served.url, "--broker-ca", str(ca), "--profile", "python"]
        command += ["--data", str(self.site.data), str(self.site.root / "app/job.py")]
        environment = os.environ | {"XDG_CACHE_HOME": str(self.site.cache)}
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", ENTER, str(kernel or ""), *command],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )


@pytest.fixture(scope="module")
def guest(site):
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, to show a guest's kernel files in a mount namespace")
    machine = Machine(Authority(), Product.MILAN)
    machine.fields["host_data"] = bytes(32)
    amd = Amd(machine)
    home = site.stack.enter_context(Home.create(site.root / "broker", b"passphrase", CHEAP))
    trust = HardwareTrust(amd, amd_roots=machine.roots())
    server = site.stack.enter_context(EmbeddedBroker(home.store, hardware=trust))
    site.brokers["broker1"] = Served(home, server.url, server.ca_pem.decode())
    owner = Owner("clinic", site.brokers["broker1"], site.root)
    owner.encrypt(PATIENTS, site.data, "data/patients")
    site.build(PROGRAM, image_profile())
    key = machine.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Guest(site, owner, amd, {"key": key, "report": machine.raw().hex()})


@pytest.fixture(scope="module")
def kernel(guest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel") / "report"
    with _standin(folder, "configfs-tsm", {"provider": "sev_guest", "chip": guest.chip}) as mounted:
        yield mounted


def refusal(guest):
    return list(guest.owner.store.audit.entries(kind="refusal"))[-1].fields


def test_keys_are_released_to_a_guest_that_the_hardware_vouches_for(guest, kernel):
    guest.allow()
    done = guest.run(kernel)
    assert done.returncode == 0, done.stderr
    assert "TEE snp, evidence by configfs-tsm" in done.stderr
    assert "simulated" not in done.stderr
    assert guest.owner.read(guest.site.data, "out/stays").sort_by("ward").to_pydict() == {
        "ward": ["a", "b"],
        "stay_sum": [4, 2],
    }
    released = list(guest.owner.store.audit.entries(kind="release"))[-1].fields
    assert released["tee"] == "snp"
    assert released["hardware_id"] == guest.amd.machine.hardware_id.hex()
    assert released["measurement"] == measurement(guest.site.image)


@pytest.mark.parametrize(
    ("demanded", "reason"),
    [
        ({"registers.measurement": f'["{"ff" * 48}"]'}, "step 4: measurement"),
        ({"hardware_ids": f'["{"11" * 64}"]'}, "step 3: hardware id"),
        ({"minimum_tcb.microcode": "201"}, "microcode is 200"),
        ({"allow_smt": "false"}, "hyperthreads"),
        ({"guest_policy": '["single-socket"]'}, "lacks single-socket"),
    ],
)
def test_another_platform_than_the_owner_demands(guest, kernel, demanded, reason):
    guest.allow(**demanded)
    done = guest.run(kernel)
    assert done.returncode == PlatformRefused.exit_code
    assert refusal(guest)["error"] == "PlatformRefused"
    assert reason in refusal(guest)["detail"]
    assert reason not in done.stderr  # for the owner's log


def test_a_policy_for_the_simulated_tee_releases_nothing_to_it(guest, kernel):
    guest.owner.allow(guest.site.image, ("data/patients", "read"), ("out/stays", "write"))
    done = guest.run(kernel)
    assert done.returncode == MeasurementRefused.exit_code


def test_missing_collateral_says_what_to_do(guest, kernel):
    guest.allow()
    guest.amd.crl = False
    done = guest.run(kernel)
    guest.amd.crl = True
    assert done.returncode == CollateralUnavailable.exit_code
    assert "confide collateral" in done.stderr
    assert "no CRL of Milan" in refusal(guest)["detail"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no TEE gives evidence here"),
        (("--tee", "snp"), "no guest of the TEE snp"),
        (("--tee", "tdx"), "no guest of the TEE tdx"),
        (("--tee", "sgx"), "SGX"),
    ],
)
def test_without_such_hardware_nothing_runs_and_nothing_is_simulated(guest, options, said):
    guest.allow()
    done = guest.run(None, *options)
    assert done.returncode == 74
    assert said in done.stderr
    assert "attested" not in done.stderr


def test_another_tee_than_the_kernel_gives_evidence_of(guest, kernel):
    done = guest.run(kernel, "--tee", "tdx")
    assert done.returncode == 74


def test_the_broker_inside_confide_run_serves_no_hardware(guest, kernel):
    command = [
        sys.executable,
        "-m",
        "confide",
        "--home",
        str(guest.site.host),
        "run",
        "--tee",
        "snp",
        "job.py",
    ]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", ENTER, str(kernel), *command], capture_output=True, text=True
    )
    assert done.returncode == 64
    assert "--broker" in done.stderr
