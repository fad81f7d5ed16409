"""Gramine 1.9's manifest options as data, and the check of a manifest against them: what is not here is refused.

Source: Gramine 1.9's documentation, "Manifest syntax". Gramine itself ignores an option that it does not know at run
time, so a misspelt one would weaken an enclave without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from confide.errors import InvalidImage


@dataclass(frozen=True)
class Table:
    """A table of named options."""

    options: Mapping[str, Node]
    required: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Named:
    """A table whose names are free."""

    value: Node


@dataclass(frozen=True)
class Array:
    """An array."""

    item: Node


@dataclass(frozen=True)
class OneOf:
    """One of several forms."""

    forms: tuple[Node, ...]


@dataclass(frozen=True)
class Text:
    """A string that matches in full."""

    pattern: str = r"[^\x00]*"


Node: TypeAlias = Table | Named | Array | OneOf | Text | type

_SIZE = Text(r"(0x[0-9a-fA-F]+|[0-9]+)[KMG]?")
_HASH = Text(r"[0-9a-f]{64}")
_FILE = Text(r"file:.+")
_URI = Text(r"(file|dev):.+")
_PATH = Text(r"/.*")
_NUMBER = int
_SWITCH = Text("unspecified|disabled|required")
_GUARD = Text("disabled|required")
_HEX = Text(r"0x[0-9a-fA-F]+")


def _mount(kind: str, needed: tuple[str, ...], **options: Node) -> Table:
    return Table({"type": Text(kind), **options}, frozenset(needed))


def _filesystem(**place: Node) -> OneOf:
    """`fs.root` and the entries of `fs.mounts`, which have a path besides."""
    needed = tuple(place)
    return OneOf(
        (
            _mount("chroot", (*needed, "uri"), uri=_URI, **place),
            _mount(
                "encrypted",
                (*needed, "type", "uri"),
                uri=_FILE,
                key_name=Text(r".+"),
                enable_recovery=bool,
                **place,
            ),
            _mount("tmpfs", (*needed, "type"), uri=Text(), **place),
            _mount("untrusted_shm", (*needed, "type", "uri"), uri=Text(r"dev:.+"), **place),
        )
    )


SCHEMA = Table(
    {
        "libos": Table(
            {"entrypoint": Text(r"[^:]+"), "check_invalid_pointers": bool}, frozenset({"entrypoint"})
        ),
        "loader": Table(
            {
                "entrypoint": Table({"uri": _FILE, "sha256": _HASH}, frozenset({"uri"})),
                "argv": Array(Text()),
                "argv_src_file": _FILE,
                "insecure__use_cmdline_argv": bool,
                "env": Named(
                    OneOf(
                        (Text(), Table({"value": Text()}, frozenset({"value"})), Table({"passthrough": bool}))
                    )
                ),
                "env_src_file": _FILE,
                "insecure__use_host_env": bool,
                "insecure__disable_aslr": bool,
                "log_level": Text("none|error|warning|debug|trace|all"),
                "log_file": Text(),
                "uid": _NUMBER,
                "gid": _NUMBER,
            },
            frozenset({"entrypoint"}),
        ),
        "fs": Table(
            {
                "mounts": Array(_filesystem(path=_PATH)),
                "root": _filesystem(),
                "start_dir": Text(),
                "insecure__keys": Named(Text(r"[0-9a-fA-F]{32}")),
            },
            frozenset({"mounts"}),
        ),
        "sys": Table(
            {
                "stack": Table({"size": _SIZE}),
                "brk": Table({"max_size": _SIZE}),
                "fds": Table({"limit": _NUMBER}),
                "disallow_subprocesses": bool,
                "enable_sigterm_injection": bool,
                "enable_extra_runtime_domain_names_conf": bool,
                "experimental__enable_flock": bool,
                "insecure__allow_eventfd": bool,
                "debug__mock_syscalls": Array(
                    Table({"name": Text(), "return": _NUMBER}, frozenset({"name"}))
                ),
                "allowed_ioctls": Array(
                    Table({"request_code": _NUMBER, "struct": Text()}, frozenset({"request_code"}))
                ),
                "ioctl_structs": Named(object),
            }
        ),
        "sgx": Table(
            {
                "debug": bool,
                "edmm_enable": bool,
                "enclave_size": _SIZE,
                "max_threads": _NUMBER,
                "isvprodid": _NUMBER,
                "isvsvn": _NUMBER,
                "remote_attestation": Text("none|dcap"),
                "trusted_files": Array(
                    OneOf((_FILE, Table({"uri": _FILE, "sha256": _HASH}, frozenset({"uri"}))))
                ),
                "allowed_files": Array(_URI),
                "file_check_policy": Text("strict|allow_all_but_log"),
                "use_exinfo": bool,
                "insecure__allow_memfaults_without_exinfo": bool,
                "insecure__rpc_thread_num": _NUMBER,
                "preheat_enclave": bool,
                "enable_stats": bool,
                "vtune_profile": bool,
                "cpu_features": Table(
                    {"avx": _SWITCH, "avx512": _SWITCH, "amx": _SWITCH, "mpx": _GUARD, "pkru": _GUARD}
                ),
                "seal_key": Table({"flags_mask": _HEX, "xfrm_mask": _HEX, "misc_mask": _HEX}),
                "profile": Table(
                    {
                        "enable": Text("none|main|all"),
                        "mode": Text("aex|ocall_inner|ocall_outer"),
                        "with_stack": bool,
                        "frequency": _NUMBER,
                    }
                ),
            }
        ),
    },
    frozenset({"libos", "loader", "fs"}),
)

NO_VFORK = {"name": "vfork", "return": -38}
"""Answers `vfork` with ENOSYS: a system call less, and no way to weaken anything."""

_WEAKENING = re.compile(r"(insecure__|debug__|experimental__).*")


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Return if a manifest is one that Gramine 1.9 takes and that weakens nothing.

    1. Every option is one of the schema, of its type, and none that is needed is missing.
    2. No option whose name says that it is insecure, experimental or for debugging, but the one that removes `vfork`.
    3. None of those that weaken without saying so: `sgx.debug`, `sgx.enable_stats`, `sgx.profile`, `sgx.vtune_profile`,
       another `sgx.file_check_policy` than `strict`, another log level than `error` or `none`, a variable passed
       through from the host, arguments or environment from a file.
    4. `sgx.enclave_size` is a power of two, and `sgx.max_threads` at least 4, of which Gramine needs three itself.
    5. Every trusted file has its hash; none lies below what is allowed, where it could be replaced.

    Raises:
        InvalidImage: names the step and the option.
    """
    if fault := _fault(SCHEMA, manifest, ""):
        _refuse(1, fault)
    named = (path for path in _paths(manifest) if not _takes_vfork_away(path, manifest))
    if name := next((path for path in named if _WEAKENING.fullmatch(path.rpartition(".")[2])), None):
        _refuse(2, f"{name} weakens the enclave")
    _check_silent(manifest)
    sgx = manifest.get("sgx", {})
    size = size_bytes(sgx.get("enclave_size", "256M"))
    if size & (size - 1) or not size:
        _refuse(4, f"sgx.enclave_size {sgx['enclave_size']} is not a power of two")
    if sgx.get("max_threads", 4) < 4:
        _refuse(4, f"sgx.max_threads {sgx['max_threads']}, at least 4")
    _check_files(sgx)


def _takes_vfork_away(path: str, manifest: Mapping[str, Any]) -> bool:
    return path == "sys.debug__mock_syscalls" and manifest["sys"]["debug__mock_syscalls"] == [NO_VFORK]


def _check_silent(manifest: Mapping[str, Any]) -> None:
    sgx, loader = manifest.get("sgx", {}), manifest["loader"]
    for name in ("debug", "enable_stats", "profile", "vtune_profile"):
        if sgx.get(name):
            _refuse(3, f"sgx.{name} weakens the enclave")
    if sgx.get("file_check_policy", "strict") != "strict":
        _refuse(3, "sgx.file_check_policy is not strict")
    if loader.get("log_level", "error") not in ("error", "none"):
        _refuse(3, "loader.log_level tells the host what the program does")
    for name in ("argv_src_file", "env_src_file"):
        if name in loader:
            _refuse(3, f"loader.{name} is not part of the measured manifest")
    for name, value in loader.get("env", {}).items():
        if isinstance(value, Mapping) and "passthrough" in value:
            _refuse(3, f"loader.env.{name} comes from the host")


def _check_files(sgx: Mapping[str, Any]) -> None:
    allowed = tuple(str(uri) for uri in sgx.get("allowed_files", ()))
    folders = tuple(uri for uri in allowed if uri.endswith("/"))
    for file in sgx.get("trusted_files", ()):
        uri = file if isinstance(file, str) else file["uri"]
        if isinstance(file, str) or "sha256" not in file:
            _refuse(5, f"trusted file {uri} has no hash")
        if uri in allowed or uri.startswith(folders):
            _refuse(5, f"trusted file {uri} is allowed too")


def _fault(node: Node, value: Any, path: str) -> str | None:
    match node:
        case Table():
            return _table_fault(node, value, path)
        case Named():
            if not isinstance(value, Mapping):
                return f"{path} is not a table"
            return next(
                (f for name in value if (f := _fault(node.value, value[name], f"{path}.{name}"))), None
            )
        case Array():
            if not isinstance(value, list | tuple):
                return f"{path} is not an array"
            return next(
                (f for i, item in enumerate(value) if (f := _fault(node.item, item, f"{path}[{i}]"))), None
            )
        case OneOf():
            faults = [_fault(form, value, path) for form in node.forms]
            return None if None in faults else f"{path} has none of the forms that it may have"
        case Text():
            fits = isinstance(value, str) and re.fullmatch(node.pattern, value) is not None
            return None if fits else f"{path} is {value!r}"
        case _:
            fits = isinstance(value, node) and not (node is int and isinstance(value, bool))
            return None if fits else f"{path} is {value!r}"


def _table_fault(table: Table, value: Any, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"{path or 'the manifest'} is not a table"
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in table.options:
            return f"{prefix}{name} is no option of Gramine 1.9"
        if fault := _fault(table.options[name], value[name], f"{prefix}{name}"):
            return fault
    missing = sorted(table.required - value.keys())
    return f"{prefix}{missing[0]} is missing" if missing else None


def _paths(value: Any, path: str = "") -> list[str]:
    if not isinstance(value, Mapping) or path == "loader.env":
        return []
    own = [f"{path}.{name}" if path else name for name in value]
    return own + [
        below for name, each in zip(own, value.values(), strict=True) for below in _paths(each, name)
    ]


def size_bytes(size: str) -> int:
    """Return the bytes of a size such as `8M`."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(size[-1], 1)
    return int(size[:-1] if factor > 1 else size, 0) * factor


def _refuse(step: int, reason: str) -> None:
    raise InvalidImage(f"Gramine manifest, step {step}: {reason}")
