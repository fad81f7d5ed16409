"""The closed schema of manifests: what Gramine does not know, and what weakens an enclave, is refused."""

from __future__ import annotations

import copy

import pytest

from confide.enclave.gramine.manifest import manifest
from confide.enclave.gramine.schema import NO_VFORK, check_manifest, size_bytes
from confide.errors import InvalidImage

SANE = {
    "libos": {"entrypoint": "/bin/python"},
    "loader": {
        "entrypoint": {"uri": "file:libsysdb.so", "sha256": "00" * 32},
        "argv": ["python"],
        "env": {"A": "b"},
    },
    "fs": {
        "root": {"uri": "file:root"},
        "mounts": [
            {"path": "/data", "uri": "file:data"},
            {"type": "encrypted", "path": "/scratch", "uri": "file:scratch", "key_name": "k"},
            {"type": "tmpfs", "path": "/tmp"},
        ],
    },
    "sgx": {
        "enclave_size": "512M",
        "max_threads": 8,
        "allowed_files": ["file:data/"],
        "trusted_files": [{"uri": "file:root/a", "sha256": "00" * 32}],
    },
}


def changed(path: str, value: object) -> dict:
    made = copy.deepcopy(SANE)
    at = made
    *folders, name = path.split("/")
    for folder in folders:
        at = at.setdefault(folder, {})
    at[name] = value
    return made


def test_a_sane_manifest_and_the_rendered_one_pass(image, runtime, needs):
    check_manifest(SANE)
    check_manifest(manifest(image, runtime, needs))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sgx/thread_num", 4, "step 1: sgx.thread_num is no option"),
        ("sgx/max_threads", "8", "step 1: sgx.max_threads is '8'"),
        ("sgx/max_threads", True, "step 1"),
        ("sgx/remote_attestation", "epid", "step 1"),
        ("sgx/trusted_checksum", {}, "step 1"),
        ("sgx/enclave_size", "512 MB", "step 1"),
        ("sgx/trusted_files", ["root/a"], "step 1"),
        ("sgx/cpu_features", {"pkru": "unspecified"}, "step 1"),
        ("sgx/allowed_files", ["data/"], "step 1"),
        ("libos/entrypoint", "file:/bin/python", "step 1"),
        ("loader/entrypoint", "file:libsysdb.so", "step 1"),
        ("loader/argv0_override", "x", "step 1"),
        ("loader/env/A", {"value": "b", "passthrough": True}, "step 1"),
        ("fs/mount", {}, "step 1"),
        ("fs/mounts", [{"type": "encrypted", "path": "/s", "uri": "dev:x"}], "step 1"),
        ("fs/mounts", [{"path": "relative", "uri": "file:x"}], "step 1"),
        ("fs/mounts", [{"path": "/a", "uri": "file:x", "key_name": "k"}], "step 1"),
        ("loader/insecure__use_cmdline_argv", True, "step 2: loader.insecure__use_cmdline_argv"),
        ("loader/insecure__use_host_env", False, "step 2"),
        ("loader/insecure__disable_aslr", True, "step 2"),
        ("fs/insecure__keys", {"k": "0" * 32}, "step 2"),
        ("sys/insecure__allow_eventfd", True, "step 2"),
        ("sys/experimental__enable_flock", True, "step 2"),
        ("sys/debug__mock_syscalls", [{"name": "fork"}], "step 2"),
        ("sys/debug__mock_syscalls", [{"name": "vfork", "return": 0}], "step 2"),
        ("sys/debug__mock_syscalls", [NO_VFORK, {"name": "getrandom", "return": 0}], "step 2"),
        ("sgx/insecure__rpc_thread_num", 1, "step 2"),
        ("sgx/debug", True, "step 3: sgx.debug"),
        ("sgx/enable_stats", True, "step 3"),
        ("sgx/vtune_profile", True, "step 3"),
        ("sgx/profile", {"enable": "all"}, "step 3"),
        ("sgx/file_check_policy", "allow_all_but_log", "step 3"),
        ("loader/log_level", "trace", "step 3"),
        ("loader/env/A", {"passthrough": True}, "step 3: loader.env.A"),
        ("loader/argv_src_file", "file:args", "step 3"),
        ("loader/env_src_file", "file:env", "step 3"),
        ("sgx/enclave_size", "768M", "step 4"),
        ("sgx/enclave_size", "0", "step 4"),
        ("sgx/max_threads", 3, "step 4"),
        ("sgx/trusted_files", ["file:root/a"], "step 5: trusted file file:root/a has no hash"),
        ("sgx/trusted_files", [{"uri": "file:data/a", "sha256": "00" * 32}], "step 5"),
    ],
)
def test_refused(path, value, said):
    with pytest.raises(InvalidImage, match=said):
        check_manifest(changed(path, value))


@pytest.mark.parametrize("table", ["libos", "loader", "fs"])
def test_a_table_that_gramine_needs_is_missing(table):
    made = {name: value for name, value in SANE.items() if name != table}
    with pytest.raises(InvalidImage, match=f"{table} is missing"):
        check_manifest(made)


def test_vfork_may_be_taken_away():
    check_manifest(changed("sys/debug__mock_syscalls", [NO_VFORK]))


def test_a_variable_may_have_any_name():
    check_manifest(changed("loader/env/insecure__x", "1"))


@pytest.mark.parametrize(
    ("text", "size"), [("8M", 8 << 20), ("256K", 256 << 10), ("1G", 1 << 30), ("0x1000", 4096)]
)
def test_sizes(text, size):
    assert size_bytes(text) == size
