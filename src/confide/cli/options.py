"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from confide.cli.programs import ProgramOptions
from confide.errors import Misuse

ProfileOption = Annotated[
    str, typer.Option(help="What hardens the engine: `spark`, `spark35`, `flink`, `python` or `serving`.")
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
    typer.Option(
        "--owner-needed",
        help="Owner who takes part; exactly those named do; measured; repeat. Default: one alone.",
    ),
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
        help="Library OS that it is to run under, in SGX or simulated without it: `gramine` or `occlum`."
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
    profile: ProfileOption = "spark",
    arg: ArgOption = None,
    include: IncludeOption = None,
    owner_needed: OwnerNeeded = None,
    memory: MemoryOption = None,
    scratch: ScratchOption = None,
    cores: CoresOption = None,
    conf: ConfOption = None,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    main_class: ClassOption = None,
    libos: LibosOption = None,
) -> ProgramOptions:
    """Return what these options say about a program; its parameters are the options of `with_program_options`."""
    from confide.enclave.libos import LIBOSES

    if libos is not None and libos not in LIBOSES:
        raise Misuse(f"no library OS called {libos!r} (there are: {', '.join(LIBOSES)})")
    return ProgramOptions(
        profile=profile,
        args=tuple(arg or ()),
        includes=tuple(include or ()),
        owners=tuple(owner_needed or ()),
        memory_mib=mebibytes(memory) if memory else None,
        scratch_mib=mebibytes(scratch) if scratch else None,
        cores=cores,
        settings=named_values("--conf", conf),
        py_files=_paths(py_files),
        jars=_paths(jars),
        main_class=main_class,
        libos=libos,
    )


def with_program_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what a program is, which it takes as its parameter `options`.

    The command raises `Misuse` for a size that is none, or an unknown library OS.
    """
    shared = inspect.signature(program_options, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_options(*args: object, **given: Any) -> None:
        stated = {name: given.pop(name) for name in shared if name in given}
        command(*args, options=program_options(**stated), **given)

    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name == "options":
            parameters += (each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in shared.values())
        else:
            parameters.append(parameter)
    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_options
