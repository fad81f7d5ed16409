"""Options that several commands share, so that they read alike everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.cli.programs import ProgramOptions

ProfileOption = Annotated[str, typer.Option(help="What hardens the engine: `spark`, `flink` or `python`.")]
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
BrokerOption = Annotated[
    list[str] | None, typer.Option(help="URL of a broker; repeat, each with its --broker-ca.")
]
BrokerCaOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Certificate (PEM) of the broker's authority; pinned in the image, so measured; repeat."
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


def program_options(
    profile: str,
    arg: list[str] | None,
    include: list[Path] | None,
    owner: list[str] | None,
    memory: str | None,
    scratch: str | None,
    cores: int | None,
) -> ProgramOptions:
    """Return what the shared options say about a program."""
    from confide.cli.programs import ProgramOptions

    return ProgramOptions(
        profile=profile,
        args=tuple(arg or ()),
        includes=tuple(include or ()),
        owners=tuple(owner or ()),
        memory_mib=mebibytes(memory) if memory else None,
        scratch_mib=mebibytes(scratch) if scratch else None,
        cores=cores,
    )
