"""The Occlum instance of an image: `Occlum.json`, the `bom.yaml` by which `copy_bom` fills its file system, and the
script that starts it. Pure.

Occlum runs all processes in one enclave, so its sizes are those of all of them together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from confide.canonical import sha256_hex
from confide.enclave.bytecode import without_sources
from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.manifest import library_folders
from confide.enclave.gramine.sizes import STACK_MIB, mapped_mib, stacks_mib
from confide.enclave.image import DATA, IMAGE_FILE, ROOT_FOLDER, RUN, WORK, Image, measurement
from confide.enclave.libos import CLEAR_WORK, OCCLUM, VARIABLE
from confide.enclave.occlum.schema import (
    Environment,
    Layer,
    Metadata,
    Mount,
    OcclumConfiguration,
    Process,
    ResourceLimits,
    Union,
)

CONFIGURATION = "Occlum.json"

KERNEL_HEAP_MIB = 512
"""Heap of Occlum itself: it holds file systems, pipes, and what is opened."""

START_FILE = "start"
START = f"/opt/confide/{START_FILE}"
"""The only entry point: `start_script`."""

_LIBC = frozenset(
    {
        *("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
        *("libutil.so.1", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"),
    }
)
_OCCLUM_LIBC = "/opt/occlum/glibc/lib"
_CODE = "opt/"
_FOLDERS = ("data", "dev", "proc", "run", RUN.lstrip("/"), "scratch", "tmp", "work")
_IMAGE = ".."
"""The image folder, seen from the instance in it."""


def configuration(image: Image, needs: EnclaveNeeds, *, product_id: int = 0) -> OcclumConfiguration:
    """Return what `Occlum.json` says."""
    memory = needs.processes * (needs.memory_mib + stacks_mib(needs)) + mapped_mib(image)
    environment = {
        **image.env,
        **needs.env,
        **(CLEAR_WORK if needs.clear_work else {}),
        "LD_LIBRARY_PATH": ":".join(library_folders(image)),
        VARIABLE: OCCLUM,
    }
    root = Union(
        layers=(
            Layer(target="/", type="sefs", source="./build/mount/__ROOT", options={"MAC": ""}),
            Layer(target="/", type="sefs", source="./run/mount/__ROOT"),  # encrypted; emptied before each run
        )
    )
    return OcclumConfiguration(
        resource_limits=ResourceLimits(
            kernel_space_heap_size=f"{KERNEL_HEAP_MIB}MB",
            kernel_space_stack_size="1MB",
            user_space_size=f"{memory}MB",
            max_num_of_threads=needs.processes + needs.threads,
        ),
        process=Process(
            default_stack_size=f"{STACK_MIB}MB",
            default_heap_size="256MB",
            default_mmap_size=f"{needs.memory_mib}MB",
        ),
        entry_points=(START,),
        env=Environment(default=tuple(f"{name}={value}" for name, value in sorted(environment.items()))),
        metadata=Metadata(product_id=product_id, version_number=image.svn),
        mount=(
            Mount(target="/", type="unionfs", options=root),
            Mount(target=DATA if needs.clear_work else WORK, type="hostfs", source="./data"),
            Mount(target="/proc", type="procfs"),
            Mount(target="/dev", type="devfs"),
            Mount(target="/tmp", type="ramfs"),  # noqa: S108 - the enclave's own
            Mount(target=RUN, type="ramfs"),
        ),
    )


def configuration_json(made: OcclumConfiguration) -> bytes:
    """Return the bytes of an `Occlum.json`."""
    return json.dumps(made.model_dump(mode="json", exclude_none=True), indent=4).encode() + b"\n"


def start_script(image: Image) -> bytes:
    """Return the program at `START`, which becomes the image's first process.

    Occlum checks which program the host starts, and not its arguments: an interpreter among the entry points would run
    whatever the host says. A script's interpreter gets the script's path before the host's arguments, so that Python
    takes none of them for an option; the script looks at none, and goes on with the image's own. Its first line has no
    options, as Occlum takes the whole of it for a path.
    """
    return f"#!{image.argv[0]}\nimport os\n\nos.execv({image.argv[0]!a}, {list(image.argv)!a})\n".encode()


def bom(image: Image) -> dict[str, Any]:
    """Return the plan for `copy_bom`: each file with its hash, none found by itself, the C library from Occlum.

    Its paths are those of an instance in the image folder: `copy_bom` takes them from the folder of its `--root`.
    """
    hashes = {file.path: file.sha256 for file in image.files}
    own = {
        path: path for path in hashes if not path.startswith(_CODE)
    }  # a program is started from its source
    folders: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for place, path in sorted([*own.items(), *without_sources(path for path in hashes if path not in own)]):
        (folder, _, placed), (origin, _, name) = place.rpartition("/"), path.rpartition("/")
        if name in _LIBC:
            folders[folder, _OCCLUM_LIBC].append({"name": name, "autodep": False})
            continue
        entry = {"name": name, "hash": hashes[path].upper(), "autodep": False}
        renamed = {"rename": placed} if placed != name else {}
        folders[folder, f"{_IMAGE}/{ROOT_FOLDER}/{origin}"].append({**entry, **renamed})
    targets = [
        {"target": f"/{folder}", "copy": [{"from": origin, "files": entries}]}
        for (folder, origin), entries in sorted(folders.items())
    ]
    document = _one_file("/run", _IMAGE, IMAGE_FILE, measurement(image))
    start = _one_file(START.rpartition("/")[0], ".", START_FILE, sha256_hex(start_script(image)))
    return {"targets": [{"target": "/", "mkdirs": list(_FOLDERS)}, document, start, *targets]}


def _one_file(target: str, folder: str, name: str, sha256: str) -> dict[str, Any]:
    file = {"name": name, "hash": sha256.upper(), "autodep": False}
    return {"target": target, "copy": [{"from": folder, "files": [file]}]}


def bom_yaml(made: Mapping[str, Any]) -> bytes:
    """Return the bytes of a `bom.yaml`: JSON is YAML."""
    return json.dumps(made, indent=1).encode() + b"\n"
