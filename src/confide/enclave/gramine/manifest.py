"""The Gramine manifest of an image. Pure: the same image, Gramine and choices give the same bytes.

Every path of the host in it is relative to the folder that the enclave starts in, which `start` lays out::

    root/        the image's files           gramine/     what is installed of Gramine
    image.json   the image's document        data/        the data root
    scratch/     encrypted scratch space     view/        encrypted files that the program sees as /work
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit

from confide.enclave.bytecode import source_of
from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.schema import NO_VFORK, check_manifest
from confide.enclave.gramine.sizes import STACK_MIB, enclave_mib, max_threads, use_exinfo
from confide.enclave.image import DATA, RUN, SCRATCH, WORK, Image, measurement
from confide.enclave.libos import CHILDREN, CLEAR_WORK, GRAMINE, SCRATCH_KEY, VARIABLE

OPEN_FILES = 4096
LIBRARIES = "/opt/gramine"
"""Where Gramine's C library lies inside; it comes before the image's own."""

_LOADER = "lib64/ld-linux-x86-64.so.2"
_INSIDE_IMAGE = "/run/image.json"
_CODE = "opt/confide/"


@dataclass(frozen=True)
class Runtime:
    """What is installed of Gramine, by hash.

    Attributes:
        libos: SHA-256 of `libsysdb.so`.
        folder: of its C library, relative to Gramine's own folder, for instance `runtime/glibc`.
        libraries: file in that folder -> SHA-256.
    """

    libos: str
    folder: str
    libraries: Mapping[str, str]


def manifest(
    image: Image, runtime: Runtime, needs: EnclaveNeeds, *, edmm: bool = False, product_id: int = 0
) -> dict[str, Any]:
    """Return the manifest as nested tables.

    Args:
        image: what to run.
        runtime: Gramine that it is for.
        needs: of its profile.
        edmm: add memory while it runs, which wants Linux 6.0 and a newer processor.
        product_id: the author's number for this product.

    Raises:
        InvalidImage: it does not fit into an enclave, or makes no manifest that Gramine takes.
    """
    made = {
        "libos": {"entrypoint": image.argv[0]},
        "loader": {
            "entrypoint": {"uri": "file:gramine/libsysdb.so", "sha256": runtime.libos},
            "argv": list(image.argv),
            "env": dict(sorted(environment(image, needs).items())),
            "log_level": "error",
            "uid": 1000,
            "gid": 1000,
        },
        "fs": {
            "root": {"type": "chroot", "uri": "file:root"},
            "mounts": mounts(runtime, needs),
        },
        "sys": {
            "stack": {"size": f"{STACK_MIB}M"},
            "fds": {"limit": OPEN_FILES},
            "enable_extra_runtime_domain_names_conf": True,
            **({"debug__mock_syscalls": [NO_VFORK]} if needs.no_vfork else {}),
        },
        "sgx": {
            "debug": False,
            "edmm_enable": edmm,
            "enclave_size": f"{enclave_mib(image, needs)}M",
            "max_threads": max_threads(needs),
            "use_exinfo": use_exinfo(image) or edmm,
            "isvprodid": product_id,
            "isvsvn": image.svn,
            "remote_attestation": "dcap",
            "file_check_policy": "strict",
            "allowed_files": ["file:data/"],
            "trusted_files": trusted_files(image, runtime),
        },
    }
    check_manifest(made)
    return made


def manifest_toml(made: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest."""
    return tomlkit.dumps(made).encode()


def environment(image: Image, needs: EnclaveNeeds) -> dict[str, str]:
    """Return the whole environment; nothing of the host's is added."""
    own = {
        "LD_LIBRARY_PATH": ":".join((LIBRARIES, *library_folders(image))),
        VARIABLE: GRAMINE,
        CHILDREN: str(needs.processes - 1),
    }
    return {**image.env, **needs.env, **(CLEAR_WORK if needs.clear_work else {}), **own}


def library_folders(image: Image) -> list[str]:
    """Return the folders of system libraries: Gramine's loader knows the distribution's places no more than we do."""
    folders = {
        f"/{folder}"
        for folder, _, name in (file.path.rpartition("/") for file in image.files)
        if ".so" in name and folder.startswith(("lib", "usr/lib"))
    }
    return sorted(folders)


def mounts(runtime: Runtime, needs: EnclaveNeeds) -> list[dict[str, str]]:
    """Return what lies where besides the image: nothing but scratch space, `/tmp` and the data root is writable."""
    libraries = f"file:gramine/{runtime.folder}"
    encrypted = {"type": "encrypted", "key_name": SCRATCH_KEY}
    work = (
        [{**encrypted, "path": WORK, "uri": "file:view"}, _host(DATA, "file:data")]
        if needs.clear_work
        else [_host(WORK, "file:data")]
    )
    return [
        _host(f"/{_LOADER}", f"{libraries}/{_LOADER.rpartition('/')[2]}"),
        _host(LIBRARIES, libraries),
        _host(_INSIDE_IMAGE, "file:image.json"),
        {**encrypted, "path": SCRATCH, "uri": "file:scratch"},
        *work,
        {"type": "tmpfs", "path": "/tmp"},  # noqa: S108 - the enclave's own
        {"type": "tmpfs", "path": RUN},
    ]


def trusted_files(image: Image, runtime: Runtime) -> list[dict[str, str]]:
    """Return every file that may be opened, with its hash: the image's, its document, and Gramine's libraries."""
    unopened = _sources_of_byte_code(file.path for file in image.files)
    libraries = {f"gramine/{runtime.folder}/{name}": value for name, value in runtime.libraries.items()}
    files = {
        **{f"root/{file.path}": file.sha256 for file in image.files if file.path not in unopened},
        **libraries,
        "gramine/libsysdb.so": runtime.libos,
        "image.json": measurement(image),
    }
    return [{"uri": f"file:{path}", "sha256": files[path]} for path in sorted(files)]


def _sources_of_byte_code(paths: Iterable[str]) -> set[str]:
    """Return the sources of `confide`, Python and distributions that nothing opens: Python loads their byte code.

    The program's own are not among them: it is started from its source.
    """
    sources = (source_of(path) for path in paths if path.startswith(_CODE))
    return {source for source in sources if source}


def _host(path: str, uri: str) -> dict[str, str]:
    return {"type": "chroot", "path": path, "uri": uri}
