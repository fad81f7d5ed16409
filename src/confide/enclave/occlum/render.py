"""The Occlum instance of an image: `Occlum.json`, the `bom.yaml` by which `copy_bom` fills its file system, and the
script that starts it. Pure.

Occlum runs all processes in one enclave, so its sizes are those of all of them together.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from confide.enclave.bytecode import source_of
from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.sizes import STACK_MIB, mapped_mib, stacks_mib
from confide.enclave.image import DATA, IMAGE_FILE, ROOT_FOLDER, WORK, Image
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

KERNEL_HEAP_MIB = 512
"""Heap of Occlum itself: it holds file systems, pipes, and what is opened."""

START = "/opt/confide/start"
"""The only entry point: `start_script`."""

_LIBC = frozenset(
    {
        *("ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
        *("libutil.so.1", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"),
    }
)
_OCCLUM_LIBC = "/opt/occlum/glibc/lib"
_FOLDERS = ("data", "dev", "host", "proc", "run", "scratch", "tmp", "work")


def configuration(image: Image, needs: EnclaveNeeds, *, product_id: int = 0) -> OcclumConfiguration:
    """Return what `Occlum.json` says."""
    memory = needs.processes * (needs.memory_mib + stacks_mib(needs)) + mapped_mib(image)
    environment = {**image.env, **needs.env, **(CLEAR_WORK if needs.clear_work else {}), VARIABLE: OCCLUM}
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
        ),
    )


def configuration_json(made: OcclumConfiguration) -> bytes:
    """Return the bytes of an `Occlum.json`."""
    return json.dumps(made.model_dump(mode="json", exclude_none=True), indent=4).encode() + b"\n"


def start_script(image: Image) -> bytes:
    """Return the program at `START`, which becomes the image's first process.

    Occlum checks which program the host starts, and not its arguments: an interpreter among the entry points would run
    whatever the host says. A script's interpreter gets the script's path before the host's arguments, so that Python
    takes none of them for an option; the script looks at none, and goes on with the image's own.
    """
    return f"#!{image.argv[0]}\nimport os\n\nos.execv({image.argv[0]!a}, {list(image.argv)!a})\n".encode()


def bom(image: Image) -> dict[str, Any]:
    """Return the plan for `copy_bom`: each file with its hash, none found by itself, the C library from Occlum.

    Paths are relative to the image folder.
    """
    unopened = {
        source for file in image.files if (source := source_of(file.path)) and file.path.startswith("opt/")
    }
    folders: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for file in image.files:
        folder, _, name = file.path.rpartition("/")
        if name in _LIBC:
            folders[folder, _OCCLUM_LIBC].append({"name": name, "autodep": False})
        elif file.path not in unopened:
            entry = {"name": name, "hash": file.sha256.upper(), "autodep": False}
            folders[folder, f"{ROOT_FOLDER}/{folder}"].append(entry)
    targets = [
        {"target": f"/{folder}", "copy": [{"from": origin, "files": entries}]}
        for (folder, origin), entries in sorted(folders.items())
    ]
    own = {"target": "/run", "copy": [{"from": ".", "files": [{"name": IMAGE_FILE, "autodep": False}]}]}
    return {"targets": [{"target": "/", "mkdirs": list(_FOLDERS)}, own, *targets]}


def bom_yaml(made: Mapping[str, Any]) -> bytes:
    """Return the bytes of a `bom.yaml`: JSON is YAML."""
    return json.dumps(made, indent=1).encode() + b"\n"
