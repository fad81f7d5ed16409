"""`confide image`: build an image, look at it, compare two; what the cache holds of them."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.brokers import authorities
from confide.cli.context import open_home
from confide.cli.options import (
    ArgOption,
    BrokerCaOption,
    ClassOption,
    ConfOption,
    CoresOption,
    IncludeOption,
    JarsOption,
    JsonOption,
    MemoryOption,
    OwnerNeeded,
    ProfileOption,
    PyFilesOption,
    RoleOption,
    ScratchOption,
    program_options,
)
from confide.cli.output import emit, say, stdout, table

app = typer.Typer(
    help="Images: build, lock, show, compare; list and prune the cache.",
    epilog="Example:  confide image build job.py -o job-image",
    no_args_is_help=True,
)


@app.command()
def build(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="The program.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder; without: the cache.")
    ] = None,
    profile: ProfileOption = "spark",
    role: RoleOption = "driver",
    broker_ca: BrokerCaOption = None,
    arg: ArgOption = None,
    include: IncludeOption = None,
    owner: OwnerNeeded = None,
    memory: MemoryOption = None,
    scratch: ScratchOption = None,
    cores: CoresOption = None,
    conf: ConfOption = None,
    py_files: PyFilesOption = None,
    jars: JarsOption = None,
    main_class: ClassOption = None,
    json: JsonOption = False,
) -> None:
    """Build the image of a program and print its measurement.

    Example:

        confide image build job.py --arg '--year=20[0-9]{2}'
    """
    from confide.cli.programs import image_of

    options = replace(
        program_options(
            profile, arg, include, owner, memory, scratch, cores, conf, py_files, jars, main_class
        ),
        role=role,
    )
    with open_home(context) as home:
        brokers = authorities(home, broker_ca or [])
    built = image_of(program, brokers, options)
    folder = built.folder
    if output is not None:
        from confide.enclave.build import copy_image

        folder = copy_image(built.folder, output)
    total = sum(file.size for file in built.image.files)
    if json:
        emit(
            {
                "measurement": built.measurement,
                "folder": str(folder),
                "files": len(built.image.files),
                "bytes": total,
            }
        )
        return
    say(f"{folder}: {len(built.image.files):,} files, {total / 2**20:,.0f} MiB")
    typer.echo(built.measurement)


@app.command()
def lock(
    program: Annotated[Path, typer.Argument(help="The program, with `dependencies` in its inline metadata.")],
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Take the newest versions, not those of the present lock.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Lock the program's own dependencies, with hashes, into PROGRAM.lock. Needs uv, and no home.

    Example:

        confide image lock job.py
    """
    from confide.cli.hints import advice
    from confide.enclave.locked import lock as lock_dependencies
    from confide.enclave.locked import lock_path
    from confide.enclave.script_metadata import read_metadata
    from confide.errors import Misuse, NotLocked

    if not program.is_file():
        raise Misuse(f"no program at {program}")
    if not read_metadata(program).dependencies:
        raise Misuse(f"{program} declares no dependencies; docs/how-to/python-programs.md shows how")
    with advice(NotLocked, _NOT_LOCKED):
        wheels = lock_dependencies(program, upgrade)
    path = lock_path(program)
    if json:
        emit({"lock": str(path), "packages": {wheel.name: str(wheel.version) for wheel in wheels}})
        return
    say(f"{path}: " + ", ".join(f"{wheel.name} {wheel.version}" for wheel in wheels))


_NOT_LOCKED = (
    "only wheels are taken: building a package would run its code here. Ask for a version that has one, and leave out "
    "what the profile brings, as pyspark (docs/how-to/python-programs.md)."
)


@app.command()
def prepare(profile: ProfileOption = "spark") -> None:
    """Build what all images of a profile share, so that later builds are quick. Needs no home.

    Example:

        confide image prepare
    """
    from confide.cli.programs import ProgramOptions, image_of

    with tempfile.TemporaryDirectory(prefix="confide-") as folder:
        program = Path(folder) / "prepare.py"
        program.write_text("import pyspark\n" if profile == "spark" else "", encoding="utf-8")
        built = image_of(program, {}, ProgramOptions(profile=profile))
    say(f"layers of profile {profile}: {len(built.image.files):,} files")


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="An image folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print the whole document.")] = False,
) -> None:
    """Show what is measured: program, argv, environment, grammar, limits, and what is large. Rehashes every file.

    Example:

        confide image show ./image
    """
    from confide.enclave.verify import verify_image

    verified = verify_image(folder)
    image = verified.image
    if json:
        emit(image.model_dump(mode="json"))
        return
    rows = table("", "")
    rows.add_row("measurement", verified.measurement)
    rows.add_row("name", f"{image.name} (profile {image.profile}, role {image.role}, svn {image.svn})")
    rows.add_row("argv", " ".join(image.argv))
    rows.add_row("program", image.program)
    rows.add_row("arguments", ", ".join(image.args) or "none")
    rows.add_row("launch", ", ".join(f"{k}={v}" for k, v in image.launch.items()) or "none")
    limits = image.limits
    rows.add_row(
        "limits",
        f"{limits.memory_mib} MiB memory, {limits.scratch_mib} MiB scratch, {limits.cores or 'all'} cores",
    )
    rows.add_row("files", f"{len(image.files):,}, {sum(f.size for f in image.files) / 2**20:,.0f} MiB")
    for file in sorted(image.files, key=lambda f: -f.size)[:5]:
        rows.add_row("", f"/{file.path} {file.size / 2**20:,.1f} MiB")
    stdout.print(rows)


@app.command()
def diff(
    older: Annotated[Path, typer.Argument(help="An image folder.")],
    newer: Annotated[Path, typer.Argument(help="Another one.")],
    json: JsonOption = False,
) -> None:
    """Say which files and settings make two measurements differ. Exits 1 if they do. Rehashes every file.

    Example:

        confide image diff ./approved ./mine
    """
    from confide.enclave.diff import diff_images
    from confide.enclave.verify import verify_image

    one, other = verify_image(older), verify_image(newer)
    found = diff_images(one.image, other.image).summary(most=100)
    differences = found.split("; ") if found else []
    if json:
        emit({"older": one.measurement, "newer": other.measurement, "differences": differences})
    else:
        typer.echo("\n".join(differences) or "no difference")
    if found:
        raise typer.Exit(1)


@app.command("list")
def list_images(json: JsonOption = False) -> None:
    """List the images in the cache, the newest last, and what the whole cache takes on disk.

    Example:

        confide image list
    """
    from confide.enclave.cache import cached_images, disk_bytes

    cache = _cache()
    images, size = cached_images(cache), disk_bytes(cache)
    if json:
        found = [vars(image) | {"folder": str(image.folder)} for image in images]
        emit({"cache": str(cache), "bytes": size, "images": found})
        return
    rows = table("measurement", "name", "profile", "built", "files")
    for image in images:
        built = time.strftime("%Y-%m-%d %H:%M", time.localtime(image.built))
        rows.add_row(image.measurement, image.name, image.profile, built, f"{image.files:,}")
    stdout.print(rows)
    say(f"{cache}: {size / 2**20:,.0f} MiB; `confide image prune` removes it")


@app.command()
def prune(json: JsonOption = False) -> None:
    """Remove the cached images, and the layers they are made of; the next build makes anew what it needs.

    Not while a program runs: its files lie there.

    Example:

        confide image prune
    """
    from confide.enclave.cache import disk_bytes, empty

    cache = _cache()
    size = disk_bytes(cache)
    empty(cache)
    if json:
        emit({"cache": str(cache), "bytes": size})
        return
    say(f"{cache}: {size / 2**20:,.0f} MiB removed")


def _cache() -> Path:
    from confide.enclave.build import default_cache

    return default_cache(os.environ.get("XDG_CACHE_HOME"))
