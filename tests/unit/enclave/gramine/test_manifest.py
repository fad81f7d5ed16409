"""The manifest of an image: closed, and the same bytes for the same image."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest

from confide.enclave.gramine.manifest import LIBRARIES, manifest, manifest_toml, trusted_files
from confide.enclave.image import measurement


@pytest.fixture
def made(image, runtime, needs):
    return manifest(image, runtime, needs)


def test_argv_and_environment_are_the_images_and_nothing_of_the_host(image, made):
    assert made["loader"]["argv"] == list(image.argv)
    assert made["libos"]["entrypoint"] == image.argv[0]
    assert made["loader"]["env"] == {
        "CONFIDE_CHILDREN": "1",
        "CONFIDE_CLEAR_WORK": "1",
        "CONFIDE_LIBOS": "gramine",
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": f"{LIBRARIES}:/lib/x86_64-linux-gnu:/lib64",
    }


def test_trusted_files_carry_the_images_hashes(image, runtime):
    found = {each["uri"]: each["sha256"] for each in trusted_files(image, runtime)}
    assert found["file:root/app/job.py"] == "ab" * 32
    assert found["file:image.json"] == measurement(image)
    assert found["file:gramine/libsysdb.so"] == "01" * 32
    assert found["file:gramine/runtime/glibc/libc.so.6"] == "02" * 32


def test_sources_that_nothing_opens_are_left_out_and_the_programs_own_kept(image, runtime):
    found = {each["uri"] for each in trusted_files(image, runtime)}
    assert "file:root/opt/confide/python/lib/python3.11/os.py" not in found
    assert "file:root/opt/confide/python/lib/python3.11/__pycache__/os.cpython-311.pyc" in found
    assert {"file:root/app/job.py", "file:root/opt/confide/site/only_source.py"} <= found


def test_only_the_data_root_is_unprotected(made):
    assert made["sgx"]["allowed_files"] == ["file:data/"]
    writable = {
        mount["path"]: mount.get("type")
        for mount in made["fs"]["mounts"]
        if mount.get("type") != "chroot" or mount["uri"] == "file:data"
    }
    assert writable == {
        "/scratch": "encrypted",
        "/work": "encrypted",
        "/data": "chroot",
        "/tmp": "tmpfs",
        "/run/confide": "tmpfs",
    }


def test_a_program_that_decrypts_itself_sees_the_data_root_as_work(image, runtime, needs):
    made = manifest(image, runtime, dataclasses.replace(needs, clear_work=False))
    places = {mount["path"]: mount.get("uri") for mount in made["fs"]["mounts"]}
    assert places["/work"] == "file:data"
    assert "/data" not in places
    assert "CONFIDE_CLEAR_WORK" not in made["loader"]["env"]


def test_vfork_is_taken_from_an_engine_that_tries_it(image, runtime, needs, made):
    assert "debug__mock_syscalls" not in made["sys"]
    without = manifest(image, runtime, dataclasses.replace(needs, no_vfork=True))
    assert without["sys"]["debug__mock_syscalls"] == [{"name": "vfork", "return": -38}]


def test_sgx_is_fixed(made):
    sgx = made["sgx"]
    assert (sgx["debug"], sgx["remote_attestation"], sgx["isvsvn"], sgx["isvprodid"]) == (False, "dcap", 3, 0)
    assert sgx["file_check_policy"] == "strict"


def test_edmm_also_asks_for_addresses_of_faults(image, runtime, needs):
    sgx = manifest(image, runtime, needs, edmm=True, product_id=7)["sgx"]
    assert (sgx["edmm_enable"], sgx["use_exinfo"], sgx["isvprodid"]) == (True, True, 7)


def test_no_path_of_this_machine_is_in_it(made):
    toml = manifest_toml(made).decode()
    assert "file:/" not in toml


def test_the_same_image_gives_the_same_bytes_which_say_the_same(image, runtime, needs, made):
    again = manifest_toml(manifest(image.model_copy(), runtime, needs))
    assert again == manifest_toml(made)
    assert tomllib.loads(again.decode()) == made
