"""`confide guest`: build the virtual machine that images run in, and the disks that it takes."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.output import emit, say

app = typer.Typer(
    help="Guests: the virtual machine that images run in, for TDX, SNP and the TEE `tpm`.",
    epilog="Example:  confide guest build guest",
    no_args_is_help=True,
)


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="New folder for kernel and initrd.")],
    kernel: Annotated[
        Path,
        typer.Option(
            help="Where the kernel lies, as boot/vmlinuz-*, lib/modules/*: a root, or an unpacked package."
        ),
    ] = Path("/"),
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build a guest: the distribution's kernel, and an initrd that verifies an image before it runs it.

    One guest runs every image. The same inputs give the same bytes. Needs no home.

    Examples:

        confide guest build guest

        confide guest build guest --kernel unpacked    # of dpkg-deb -x linux-image-*-cloud-amd64*.deb unpacked
    """
    from confide.enclave.build import default_cache
    from confide.enclave.guest.build import build_guest

    hashes = build_guest(folder, kernel, default_cache(os.environ.get("XDG_CACHE_HOME")))
    if json:
        emit({"folder": str(folder), "sha256": hashes})
        return
    for name, digest in hashes.items():
        say(f"{folder / name}: {(folder / name).stat().st_size / 2**20:,.1f} MiB")
        typer.echo(f"{digest}  {name}")


@app.command()
def disk(
    image: Annotated[Path, typer.Argument(help="An image folder, as `confide image build` makes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New file.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an image as a disk for a guest, and print what the machine is to be started with.

    For a guest that your own hypervisor starts: docs/confidential-vms.md. Rehashes every file.

    Example:

        confide guest disk job-image -o job.disk
    """
    from confide.enclave.guest.disk import write_disk
    from confide.enclave.guest.qemu import command_line
    from confide.enclave.verify import verify_image
    from confide.errors import AlreadyExists

    verified = verify_image(image)
    if output.exists():
        raise AlreadyExists(f"{output} exists already")
    write_disk(verified.folder, output)
    digest = bytes.fromhex(verified.measurement)
    started = {
        "measurement": verified.measurement,
        "host_data": base64.b64encode(digest).decode(),
        "mrconfigid": base64.b64encode(digest.ljust(48, b"\0")).decode(),
        "command_line": command_line(verified.measurement),
    }
    if json:
        emit({"disk": str(output), **started})
        return
    say(f"{output}: {output.stat().st_size / 2**20:,.0f} MiB")
    typer.echo(f"SNP   host-data={started['host_data']}")
    typer.echo(f"TDX   mrconfigid={started['mrconfigid']}")
    typer.echo(f'TPM   -append "{started["command_line"]}"')
