"""Guests and the TEE `tpm` from the command line: what is said, and what is refused before anything is started."""

from __future__ import annotations

import base64
import json
import shutil

import pytest
import tomlkit

from confide.broker.policy import parse_policy
from confide.cli.policy_document import grant_read, open_document, put_workload
from confide.enclave.image import IMAGE_FILE, Image, Limits, measurement

needs_swtpm = pytest.mark.skipif(shutil.which("swtpm") is None, reason="needs swtpm (apt-get install swtpm)")


@pytest.fixture
def image(tmp_path):
    """An image without files."""
    document = Image(
        name="job",
        profile="python",
        argv=("/python",),
        program="/app/job.py",
        limits=Limits(memory_mib=64, scratch_mib=1),
        brokers={},
        files=(),
    )
    (tmp_path / "image/root").mkdir(parents=True)
    (tmp_path / "image" / IMAGE_FILE).write_bytes(document.canonical())
    return measurement(document)


def test_what_a_machine_is_started_with(confide, image):
    said = json.loads(confide.ok("guest", "disk", "image", "-o", "job.disk", "--json").out)
    digest = bytes.fromhex(image)
    assert base64.b64decode(said["host_data"]) == digest
    assert base64.b64decode(said["mrconfigid"]) == digest + bytes(16)
    assert said["command_line"].endswith(f"confide.image={image}")
    assert (confide.folder / "job.disk").stat().st_size % 512 == 0
    assert confide("guest", "disk", "image", "-o", "job.disk").code == 68


def test_a_disk_of_what_is_no_image(confide, image):
    (confide.folder / "image/root/more").write_text("")
    assert confide("guest", "disk", "image", "-o", "job.disk").code == 93
    assert not (confide.folder / "job.disk").exists()


def test_a_guest_without_a_kernel(confide):
    said = confide("guest", "build", "guest", "--kernel", str(confide.folder))
    assert said.code == 74
    assert "no kernel" in said.err
    assert not (confide.folder / "guest").exists()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--tee", "tpm", "--guest", "nowhere"), 64, "confide guest build"),
        (("--tee", "simulated", "--guest", "nowhere"), 64, "gives evidence of tpm"),
        (("--tee", "snp", "--guest", "nowhere"), 64, "gives evidence of tpm"),
        (("--tee", "tpm", "--guest", "nowhere", "--accel", "none"), 64, "no accelerator"),
        (("--tee", "tpm", "--guest", "nowhere", "--scratch-disk", "."), 64, "--scratch-disk"),
        (("--tee", "tpm", "--guest", "nowhere", "--workers", "2"), 64, "--workers"),
    ],
)
def test_what_is_refused_before_anything_is_started(confide, options, code, said):
    (confide.folder / "job.py").write_text("")
    answer = confide("run", *options, "job.py")
    assert answer.code == code
    assert said in answer.err


@needs_swtpm
def test_a_tpm_is_enrolled_where_hosts_are(confide):
    confide.ok("init", "clinic")
    key = confide.ok("broker", "identity", "--tpm").out.strip()
    assert confide.ok("broker", "identity", "--tpm").out.strip() == key
    said = confide.ok("broker", "enroll-host", key).err
    assert "TPM" in said
    assert "memory is NOT confidential" in said
    assert (confide.home / "tpm").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "key", ["", "!", base64.b64encode(bytes(33)).decode(), base64.b64encode(b"\x30").decode()]
)
def test_what_is_no_key_of_a_tpm(confide, key):
    confide.ok("init", "clinic")
    assert confide("broker", "enroll-host", key).code != 0


def test_one_identity_at_a_time(confide):
    assert confide("broker", "identity", "--host", "--tpm").code == 64


def test_a_workload_with_registers_is_a_policy(tmp_path):
    document = open_document(tmp_path / "policy.toml", "clinic", 0, 1)
    registers = {"pcr0": "00" * 32, "pcr4": "11" * 32, "pcr8": "00" * 32, "pcr9": "22" * 32}
    for _ in range(2):  # again replaces it
        put_workload(
            document,
            "job",
            tee="tpm",
            measurements={"driver": "a" * 64},
            logs=None,
            platform={"registers": {name: [value] for name, value in registers.items()}},
        )
        grant_read(document, "job", "data/patients=clinic/patients", None)
    workload = parse_policy(tomlkit.dumps(document).encode()).workload[0]
    assert workload.platform.registers == {name: (value,) for name, value in registers.items()}
