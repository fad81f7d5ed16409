"""The distribution's kernel for a guest: its image, and the modules that the guest loads."""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from confide.errors import MissingDependency

NEEDED = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtiofs", "qemu_fw_cfg")
WANTED = ("configfs", "tsm", "sev_guest", "tdx_guest", "tpm_tis", "tpm_crb")
"""What evidence of hardware is asked for through; each kernel has some, and some of it built in."""

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_VERSION = re.compile(r"[0-9]+|[^0-9]+")


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        image: its file.
        modules: name -> content, in the order in which they are loaded.
    """

    image: Path
    modules: dict[str, bytes]


def find_kernel(root: Path) -> Kernel:
    """Return the newest kernel below a folder laid out as a distribution's root, or as its unpacked package.

    Raises:
        MissingDependency: none with its modules is there; or it lacks one that the guest needs.
    """
    for image in sorted((root / "boot").glob("vmlinuz-*"), key=_age, reverse=True):
        version = image.name.removeprefix("vmlinuz-")
        for folder in (root / "lib/modules" / version, root / "usr/lib/modules" / version):
            if folder.is_dir():
                return Kernel(image, _modules(folder))
    raise MissingDependency(
        f"no kernel with its modules below {root} (boot/vmlinuz-*, lib/modules/*); on Debian: "
        "apt-get download linux-image-cloud-amd64's linux-image-*, dpkg-deb -x it into a folder, and name that"
    )


def _age(image: Path) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in _VERSION.findall(image.name)]


def _modules(folder: Path) -> dict[str, bytes]:
    files = {_name(path): path for path in sorted(folder.rglob("*.ko*"))}
    builtin = {_name(Path(line)) for line in (folder / "modules.builtin").read_text().splitlines()}
    modules: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in modules or name in builtin or name not in files:
            return
        content = _content(files[name])
        found = _DEPENDS.search(content)
        for other in found[1].decode().split(",") if found and found[1] else ():
            add(other.replace("-", "_"))
        modules[name] = content

    for name in NEEDED:
        if name not in files and name not in builtin:
            raise MissingDependency(f"the kernel in {folder} has no {name}, which a guest needs")
        add(name)
    for name in WANTED:
        add(name)
    return modules


def _name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _content(path: Path) -> bytes:
    if path.suffix == ".ko":
        return path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    raise MissingDependency(f"a kernel module that is compressed in a way not known here: {path.name}")
