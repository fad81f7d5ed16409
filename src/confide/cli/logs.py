"""`confide logs`: what programs printed, sealed for the owner."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.context import open_home
from confide.cli.hints import advice
from confide.cli.output import say
from confide.errors import Misuse, UnknownKey


def logs(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Data root of the runs.")] = Path(),
    last: Annotated[int, typer.Option(min=1, help="This many of the newest runs.")] = 1,
    executors: Annotated[bool, typer.Option(help="What executors printed, too.")] = False,
    grep: Annotated[str | None, typer.Option(help="Only lines that contain this.")] = None,
) -> None:
    """Print what the newest run printed. Its output is sealed under the policy's `logs` key.

    Example:

        confide logs --last 2
    """
    from confide.data.sealed import SealedReader
    from confide.data.sealed_header import read_header
    from confide.enclave.log import LOG_FOLDER, is_member_log, log_id
    from confide.keys.material import Keyset
    from confide.keys.names import KeyVersion

    found = [
        path for path in (folder / LOG_FOLDER).glob("*.log") if executors or not is_member_log(path.name)
    ]
    files = sorted(found, key=lambda path: path.stat().st_mtime)[-last:]
    if not files:
        raise Misuse(f"no logs in {folder / LOG_FOLDER}: a policy must name a `logs` key for the workload")
    with open_home(context) as home:
        for path in files:
            say(f"── {path.name}")
            with path.open("rb") as sealed:
                name = KeyVersion.parse(read_header(sealed).header.key).key
                sealed.seek(0)
                with advice(UnknownKey, f"sealed for {name.owner}: only its home can open it."):
                    keyset = Keyset({name: home.store.key(name)})
                with SealedReader(sealed, keyset, expected_folder=log_id(path.name)) as plain:
                    for line in plain:
                        if grep is None or grep.encode() in line:
                            sys.stdout.buffer.write(line)
    sys.stdout.flush()
