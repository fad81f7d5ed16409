"""The distribution's kernel, as it lies in a root or in an unpacked package."""

from __future__ import annotations

import lzma

import pytest

from confide.enclave.guest.kernel import NEEDED, find_kernel
from confide.errors import MissingDependency

DEPENDS = {
    "virtio_pci": "virtio,virtio-ring",
    "virtiofs": "fuse,virtio",
    "virtio_net": "net_failover",
    "tsm": "",
}


def module(depends):
    return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


@pytest.fixture
def root(tmp_path):
    def made(version="6.1.0-56-cloud-amd64", lib="lib", builtin=(), without=(), suffix=".ko"):
        folder = tmp_path / lib / "modules" / version
        (folder / "kernel/drivers").mkdir(parents=True)
        (tmp_path / "boot").mkdir(exist_ok=True)
        (tmp_path / "boot" / f"vmlinuz-{version}").write_bytes(version.encode())
        names = {*NEEDED, "virtio", "virtio-ring", "fuse", "net_failover", "tsm"} - {*builtin, *without}
        for name in names:
            content = module(DEPENDS.get(name, ""))
            content = lzma.compress(content) if suffix == ".ko.xz" else content
            (folder / "kernel/drivers" / f"{name}{suffix}").write_bytes(content)
        lines = [f"kernel/drivers/{name}.ko" for name in builtin]
        (folder / "modules.builtin").write_text("\n".join(lines))
        return tmp_path

    return made


@pytest.mark.parametrize("suffix", [".ko", ".ko.xz"])
@pytest.mark.parametrize("lib", ["lib", "usr/lib"])
def test_modules_come_behind_what_they_depend_on(root, lib, suffix):
    kernel = find_kernel(root(lib=lib, suffix=suffix))
    order = list(kernel.modules)
    assert {*NEEDED, "virtio", "virtio_ring", "fuse", "net_failover", "tsm"} == set(order)
    for name, depends in DEPENDS.items():
        for other in filter(None, depends.replace("-", "_").split(",")):
            assert order.index(other) < order.index(name)
    assert kernel.modules["virtiofs"] == module("fuse,virtio")


def test_what_is_built_in_is_not_loaded(root):
    kernel = find_kernel(root(builtin=("virtio_pci", "virtio", "fuse")))
    assert not {"virtio_pci", "virtio", "fuse"} & kernel.modules.keys()


def test_the_newest_kernel_counts(root):
    for version in ("6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "5.10.0-99-amd64"):
        found = root(version)
    assert find_kernel(found).image.name == "vmlinuz-6.1.0-56-cloud-amd64"


def test_a_kernel_without_its_modules_does_not_count(root):
    found = root("6.1.0-56-cloud-amd64")
    (found / "boot/vmlinuz-6.12.1").write_bytes(b"")
    assert find_kernel(found).image.name == "vmlinuz-6.1.0-56-cloud-amd64"


@pytest.mark.parametrize("name", NEEDED)
def test_a_kernel_that_lacks_something(root, name):
    with pytest.raises(MissingDependency, match=name):
        find_kernel(root(without=(name,)))


def test_a_compression_that_is_not_known(root):
    with pytest.raises(MissingDependency, match="compressed"):
        find_kernel(root(suffix=".ko.zst"))


def test_no_kernel(tmp_path):
    with pytest.raises(MissingDependency, match="apt-get download"):
        find_kernel(tmp_path)
