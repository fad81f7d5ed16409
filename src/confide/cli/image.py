"""`confide image`: build an image, look at it, compare two; what the cache holds of them."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.brokers import authorities
from confide.cli.context import open_home, settings
from confide.cli.options import (
    BrokerCaOption,
    JsonOption,
    ProfileOption,
    RoleOption,
    with_program_options,
)
from confide.cli.output import emit, say, stdout, table
from confide.cli.programs import ProgramOptions, image_of

if TYPE_CHECKING:
    from confide.enclave.gramine.sign import Signed

app = typer.Typer(
    help="Images: build, lock, show, compare; list and prune the cache.",
    epilog="Example:  confide image build job.py -o job-image",
    no_args_is_help=True,
)


_SHOWN = 8


@app.command()
@with_program_options
def build(
    context: typer.Context,
    program: Annotated[Path, typer.Argument(help="The program.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder; without: the cache.")
    ] = None,
    role: RoleOption = "driver",
    broker_ca: BrokerCaOption = None,
    *,
    options: ProgramOptions,
    json: JsonOption = False,
) -> None:
    """Build the image of a program and print its measurement.

    Example:

        confide image build job.py --arg '--year=20[0-9]{2}'

        confide image build job.py --libos gramine -o job-image   # then: confide image sign job-image --key author.pem
    """
    with open_home(context) as home:
        brokers = authorities(home, broker_ca or [])
    built = image_of(program, brokers, replace(options, role=role))
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
    from confide.spark.engine import ENGINES

    with tempfile.TemporaryDirectory(prefix="confide-") as folder:
        program = Path(folder) / "prepare.py"
        program.write_text("import pyspark\n" if profile in ENGINES else "", encoding="utf-8")
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
    from confide.enclave.parts import parts
    from confide.enclave.verify import verify_image

    verified = verify_image(folder)
    image = verified.image
    if json:
        emit(image.model_dump(mode="json"))
        return
    rows = table("", "")
    rows.add_row("measurement", verified.measurement)
    rows.add_row("name", f"{image.name} (profile {image.profile}, role {image.role}, svn {image.svn})")
    rows.add_row("owners", ", ".join(image.owners) or "one alone")
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
    for part in parts(image)[:_SHOWN]:
        rows.add_row("", f"{part.files:,} files, {part.size / 2**20:,.1f} MiB: {part.name}")
    for file in sorted(image.files, key=lambda f: -f.size)[:_SHOWN]:
        rows.add_row("", f"/{file.path} {file.size / 2**20:,.1f} MiB")
    stdout.print(rows)


@app.command()
def render(
    folder: Annotated[Path, typer.Argument(help="An image folder, built with --libos.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for what is written.")],
    libos: Annotated[str, typer.Option(help="`gramine` or `occlum`.")] = "gramine",
) -> None:
    """Write what a library OS is told of an image: Gramine's manifest, or Occlum's configuration, copy plan and start.

    To look at, and for tools of one's own: `sign` and `run` make their own. Rehashes every file.

    Example:

        confide image render job-image --libos occlum -o job-occlum
    """
    from confide.cli.enclaves import rendered
    from confide.data.atomic import atomic_folder

    files = rendered(folder, libos)
    with atomic_folder(output) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)
            if content.startswith(b"#!"):
                (new / name).chmod(0o755)
    say(f"{output}: {', '.join(files)}")


@app.command()
def sign(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="An image folder, built with --libos gramine.")],
    key: Annotated[
        str,
        typer.Option(
            help="The author's RSA key of 3072 bits with exponent 3: a PEM file "
            "(`openssl genrsa -3 -out author.pem 3072`), or pkcs11:token=...;object=...?module-path=..."
        ),
    ],
    edmm: Annotated[
        bool,
        typer.Option(
            "--edmm", help="For Linux 6.0 or newer and processors with SGX2: memory is added while it runs."
        ),
    ] = False,
    product_id: Annotated[
        int, typer.Option(min=0, max=65535, help="The author's number for this product.")
    ] = 0,
    json: JsonOption = False,
) -> None:
    """Sign an image as an enclave of Gramine: manifest and SIGSTRUCT go beside it. Rehashes every file.

    MRENCLAVE belongs to this image and the Gramine that is installed here, whoever signs.

    Example:

        confide image sign job-image --key author.pem
    """
    from confide.cli.enclaves import sign_image
    from confide.cli.passphrase import read_passphrase
    from confide.keys.author_key import needs_secret, open_author_key

    asked = "PIN or passphrase of the author's key"
    secret = read_passphrase(settings(context).passphrase_fd, name=asked) if needs_secret(key) else None
    signed = sign_image(folder, open_author_key(key, secret), edmm=edmm, product_id=product_id)
    _tell_signed(signed, json)


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(help="A signed image folder.")],
    json: JsonOption = False,
) -> None:
    """Verify a signed image, and print what its SIGSTRUCT says: MRENCLAVE, MRSIGNER, product id, SVN.

    The signature is verified, every file rehashed, and the enclave measured again by the Gramine installed here.

    Example:

        confide image measure job-image
    """
    from confide.cli.enclaves import measured_here

    _tell_signed(measured_here(folder), json)


def _tell_signed(signed: Signed, json: bool) -> None:
    said = signed.sigstruct
    found = {
        "mrenclave": said.octets("mrenclave").hex(),
        "mrsigner": said.mrsigner.hex(),
        "isv_prod_id": said.number("isv_prod_id"),
        "isv_svn": said.number("isv_svn"),
    }
    if json:
        emit(found)
        return
    rows = table("", "")
    for name, value in found.items():
        rows.add_row(name, str(value))
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
