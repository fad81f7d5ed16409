"""The keys of `Occlum.json` as its documentation has them, as a strict model.

Source: Occlum 0.31, "Occlum Configuration". Occlum ignores keys that it does not know.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from confide.document import StrictModel

Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(B|KB|MB|GB)$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*=[^\x00]*$")]
Hex64 = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{1,16}$")]
Choice = Annotated[int, Field(ge=0, le=2)]


class ResourceLimits(StrictModel):
    """Memory and threads."""

    kernel_space_heap_size: Size
    kernel_space_stack_size: Size
    user_space_size: Size
    max_num_of_threads: Annotated[int, Field(ge=1, le=4096)]
    kernel_space_heap_max_size: Size | None = None
    user_space_max_size: Size | None = None
    init_num_of_threads: Annotated[int, Field(ge=1, le=4096)] | None = None


class Process(StrictModel):
    """Sizes of each process; the last one has no effect, and is required."""

    default_stack_size: Size
    default_heap_size: Size
    default_mmap_size: Size


class Environment(StrictModel):
    """Environment of the first process; nothing of the host's may be taken."""

    default: tuple[Variable, ...]
    untrusted: Annotated[tuple[()], Field(strict=False)] = ()


class Number128(StrictModel):
    """A number of 128 bits."""

    high: Hex64 = "0x0"
    low: Hex64 = "0x0"


class Metadata(StrictModel):
    """What goes into the SIGSTRUCT; a debug enclave is none of ours."""

    product_id: Annotated[int, Field(ge=0, le=65535)]
    version_number: Annotated[int, Field(ge=0, le=65535)]
    debuggable: Literal[False] = False
    disable_log: Literal[True] = True
    enable_kss: bool = False
    family_id: Number128 = Number128()
    ext_prod_id: Number128 = Number128()


class Feature(StrictModel):
    """Optional features."""

    amx: Choice = 0
    pkru: Choice = 0
    io_uring: Annotated[int, Field(ge=0, le=16)] = 0
    enable_edmm: bool = False
    enable_posix_shm: bool = False


class Layer(StrictModel):
    """A layer of the root, or another mount's options; `MAC` makes it read-only with integrity."""

    target: str
    type: Literal["sefs"]
    source: str
    options: dict[Literal["MAC"], Literal[""]] | None = None


class Union(StrictModel):
    """Layers of the root file system, the lowest first."""

    layers: tuple[Layer, ...]


class Mount(StrictModel):
    """A file system and its place."""

    target: Annotated[str, Field(pattern=r"^/")]
    type: Literal["unionfs", "sefs", "hostfs", "procfs", "devfs", "ramfs"]
    source: str | None = None
    options: Union | None = None


class OcclumConfiguration(StrictModel):
    """A whole `Occlum.json`."""

    resource_limits: ResourceLimits
    process: Process
    entry_points: Annotated[tuple[Annotated[str, Field(pattern=r"^/.+")], ...], Field(min_length=1)]
    env: Environment
    metadata: Metadata
    feature: Feature = Feature()
    mount: tuple[Mount, ...]
