"""What `confide doctor` says of SGX: files of the kernel and tools in a folder stand for a machine."""

from __future__ import annotations

import socket

import pytest

from confide.cli.doctor_sgx import (
    cpu_flags,
    device,
    epc,
    fsgsbase,
    kernel,
    maps,
    occlum,
    pccs,
    processor,
    tool,
)


def cpuinfo(tmp_path, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    return cpu_flags(path)


@pytest.mark.parametrize(
    ("flags", "state", "said"),
    [
        ("fpu sgx sgx_lc aes", "ok", "sgx_lc"),
        ("fpu sgx aes", "not here", "not sgx_lc"),
        ("fpu aes", "not here", "no flag sgx"),
        ("fpu sgxx", "not here", "no flag sgx"),
    ],
)
def test_processor(tmp_path, flags, state, said):
    found = processor(cpuinfo(tmp_path, flags))
    assert (found.state, said in found.detail) == (state, True)


def test_a_machine_that_shows_no_flags(tmp_path):
    assert processor(cpu_flags(tmp_path / "none")).state == "not here"
    assert fsgsbase(cpu_flags(tmp_path / "none")).state == "not here"
    assert fsgsbase(cpuinfo(tmp_path, "fsgsbase")).state == "ok"


def test_epc_is_the_sum_of_all_nodes(tmp_path):
    for node, size in (("node0", 2 << 30), ("node1", 3 << 30)):
        (tmp_path / node / "x86").mkdir(parents=True)
        (tmp_path / node / "x86" / "sgx_total_bytes").write_text(f"{size}\n")
    assert (epc(tmp_path).state, epc(tmp_path).detail, epc(tmp_path).advice) == ("ok", "5.0 GiB", "")
    (tmp_path / "node1" / "x86" / "sgx_total_bytes").write_text("0\n")
    assert "PRMRR" in epc(tmp_path).advice
    assert epc(tmp_path / "none").state == "not here"


@pytest.mark.parametrize(
    ("release", "state", "said"),
    [
        ("5.10.0-28-amd64", "not here", "5.10"),
        ("5.15.0-1-generic", "ok", "from 6.0 on"),
        ("6.8.0-45-generic", "ok", "lets enclaves grow"),
        ("strange", "not here", "strange"),
    ],
)
def test_kernel(release, state, said):
    assert (kernel(release).state, said in kernel(release).detail) == (state, True)


def test_pccs_that_answers_and_one_that_does_not(tmp_path):
    configuration = tmp_path / "sgx_default_qcnl.conf"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        configuration.write_text(
            f'{{\n// "pccs_url": "https://other.example"\n  "pccs_url": "https://127.0.0.1:{port}/sgx/"\n}}'
        )
        assert pccs(configuration).state == "ok"
    assert pccs(configuration, 0.5).state == "not here"


@pytest.mark.parametrize("text", ["", "# PCCS_URL=https://127.0.0.1\n", '"pccs_url": "nonsense"'])
def test_pccs_that_is_not_set(tmp_path, text):
    configuration = tmp_path / "sgx_default_qcnl.conf"
    configuration.write_text(text)
    assert "no pccs_url" in pccs(configuration).detail
    assert "no " in pccs(tmp_path / "none").detail


def test_mappings(tmp_path):
    (tmp_path / "maps").write_text("65530\n")
    assert "vm.max_map_count" in maps(tmp_path / "maps").advice
    (tmp_path / "maps").write_text("4000000\n")
    assert maps(tmp_path / "maps").state == "ok"


def test_devices(tmp_path):
    assert device("SGX", (str(tmp_path / "none"),), "do this").advice == "do this"
    (tmp_path / "sgx").touch()
    assert device("SGX", (str(tmp_path / "none"), str(tmp_path / "sgx")), "").state == "ok"


@pytest.mark.parametrize(
    ("says", "state"),
    [("Gramine 1.9 (0d1a4b76)", "ok"), ("Gramine 1.8 (x)", "not here"), ("Gramine 11.9 (x)", "not here")],
)
def test_version_of_gramine(tmp_path, monkeypatch, says, state):
    program = tmp_path / "gramine-direct"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert tool("gramine-direct", "").state == state
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert tool("gramine-direct", "for trying").detail == "for trying"


def test_version_of_occlum(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert occlum().state == "not here"
    program = tmp_path / "occlum/build/bin/occlum"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert (occlum().state, "not shown" in occlum().detail) == ("ok", True)
    header = tmp_path / "occlum/include/occlum_version.h"
    header.parent.mkdir()
    header.write_text(
        "#define OCCLUM_MAJOR_VERSION 0\n#define OCCLUM_MINOR_VERSION 31\n#define OCCLUM_PATCH_VERSION 0\n"
    )
    assert occlum().detail == f"{program}: 0.31.0"
