"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.cli.programs import ProgramOptions

ProfileOption = Annotated[
    str, typer.Option(help="What hardens the engine: `spark`, `flink`, `python` or `serving`.")
]
ArgOption = Annotated[
    list[str] | None,
    typer.Option(help="Regular expression of arguments that may be given at launch; measured; repeat."),
]
IncludeOption = Annotated[
    list[Path] | None, typer.Option(help="File or folder beside the program to take along; repeat.")
]
OwnerNeeded = Annotated[
    list[str] | None,
    typer.Option("--owner-needed", help="Owner without whose grant it must not start; repeat."),
]
MemoryOption = Annotated[str | None, typer.Option(help="Memory of the workload, e.g. `4g`; measured.")]
ScratchOption = Annotated[str | None, typer.Option(help="Private scratch space, e.g. `8g`; measured.")]
CoresOption = Annotated[int | None, typer.Option(min=1, help="Cores that it uses; measured. Default: all.")]
RoleOption = Annotated[
    str, typer.Option(help="`driver`, which is the program itself, or `executor` of it; measured.")
]
ConfOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="Setting of Spark; measured. One that weakens is refused; repeat."
    ),
]
PyFilesOption = Annotated[
    str | None,
    typer.Option(metavar="FILE,...", help="Modules (.py, .zip, .egg) for driver and functions; measured."),
]
JarsOption = Annotated[
    str | None,
    typer.Option(metavar="JAR,...", help="Jars for the class path of driver and executors; measured."),
]
ClassOption = Annotated[
    str | None,
    typer.Option("--class", metavar="NAME", help="Class to run, of a program that is a jar; measured."),
]
ExecutorImageOption = Annotated[
    Path | None,
    typer.Option(help="Image folder of the executors, where the program is an image folder too."),
]
BrokerOption = Annotated[
    list[str] | None, typer.Option(help="URL of a broker; repeat, each with its --broker-ca.")
]
BrokerCaOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Certificate (PEM) of the broker's authority; pinned in the image, so measured; repeat."
    ),
]
GuestOption = Annotated[
    Path | None,
    typer.Option(help="TEE `tpm`: folder of the virtual machine that it runs in (`confide guest build`)."),
]
AccelOption = Annotated[
    str, typer.Option(help="How that machine is run: `tcg` emulates a processor, `kvm` uses this one.")
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LibosOption = Annotated[
    str | None,
    typer.Option(
        help="Library OS that it is to run under: `gramine`, for enclaves of SGX; for `simulated`, without SGX."
    ),
]

_SIZE = re.compile(r"([1-9][0-9]*)([mg])i?b?", re.IGNORECASE)


def mebibytes(text: str) -> int:
    """Return a size such as `512m` or `4g` in MiB.

    Raises:
        Misuse: not a size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise Misuse(f"not a size: {text!r} (for instance 512m or 4g)")
    return int(match[1]) * (1024 if match[2].lower() == "g" else 1)


def named_values(option: str, given: list[str] | None) -> dict[str, str]:
    """Return what an option that is given as NAME=VALUE names.

    Raises:
        Misuse: it is given otherwise.
    """
    values = {}
    for text in given or []:
        name, separator, value = text.partition("=")
        if not separator:
            raise Misuse(f"{option} {text}: give NAME=VALUE")
        values[name] = value
    return values


def _paths(text: str | None) -> tuple[Path, ...]:
    return tuple(Path(name) for name in (text or "").split(",") if name)


def program_options(
    profile: str,
    arg: list[str] | None,
    include: list[Path] | None,
    owner: list[str] | None,
    memory: str | None,
    scratch: str | None,
    cores: int | None,
    conf: list[str] | None = None,
    py_files: str | None = None,
    jars: str | None = None,
    main_class: str | None = None,
    libos: str | None = None,
) -> ProgramOptions:
    """Return what the shared options say about a program.

    Raises:
        Misuse: not a size, or no library OS of that name.
    """
    from confide.cli.programs import ProgramOptions
    from confide.enclave.libos import LIBOSES

    if libos is not None and libos not in LIBOSES:
        raise Misuse(f"no library OS called {libos!r} (there are: {', '.join(LIBOSES)})")

    return ProgramOptions(
        profile=profile,
        args=tuple(arg or ()),
        includes=tuple(include or ()),
        owners=tuple(owner or ()),
        memory_mib=mebibytes(memory) if memory else None,
        scratch_mib=mebibytes(scratch) if scratch else None,
        cores=cores,
        settings=named_values("--conf", conf),
        py_files=_paths(py_files),
        jars=_paths(jars),
        main_class=main_class,
        libos=libos,
    )
