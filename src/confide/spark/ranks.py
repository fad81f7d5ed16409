"""Ranks of PyTorch in a Spark program (`TorchDistributor`): the key by which they seal what they send one another, and
the tables that they read themselves.

They are processes of the driver's program or of its functions, in driver and executors. All members of a job make the
key from the job's secret; without executors the driver draws one. Each member's agent unwraps the tables' data keys by
what was released to it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.data.listing_io import check_folder
from confide.enclave import group_key, program_socket
from confide.enclave.group_key import KEY_BYTES, GroupKey
from confide.enclave.libos import inside_libos
from confide.enclave.profile import Context
from confide.enclave.program_socket import ProgramSocket, StreamedTable
from confide.enclave.streamed import declared, granted
from confide.errors import NoGrant
from confide.spark.cluster_settings import Job
from confide.spark.server_configuration import is_server


def tables(context: Context) -> dict[str, StreamedTable]:
    """Return the tables that ranks read themselves, each of them checked.

    Raises:
        NoGrant, Misuse: the policy does not grant one as such.
        FileMissing, FileChanged, FileUnlisted, NotEncrypted: storage holds something else than was committed.
    """
    found = granted(context.release, declared(context.image))
    for location, table in found.items():
        check_folder(context.work / location, table.listing)
    return found


@contextlib.contextmanager
def group(context: Context, job: Job | None, streamed: Mapping[str, StreamedTable]) -> Iterator[None]:
    """Serve processes of the program meanwhile, where the image holds PyTorch; not clients of a server.

    Args:
        context: of the workload.
        job: that it is a member of; None: it has no executors.
        streamed: as `tables` returns them.
    """
    without_torch = importlib.util.find_spec("torch") is None
    if without_torch or inside_libos() is not None or is_server(context.image.program):
        yield
        return
    key = secrets.token_bytes(KEY_BYTES) if job is None else job_key(job.stores.secret)
    run = context.socket.parent
    keys, program = (run / Path(folder).name for folder in (group_key.FOLDER, program_socket.FOLDER))

    def progress(done: int, total: int) -> None:
        context.tell("progress", done=done, total=total)

    with (
        contextlib.closing(GroupKey(keys, key)),
        contextlib.closing(ProgramSocket(program, streamed, _no_commit, progress)),
    ):
        yield


def _no_commit(location: str) -> NoReturn:
    raise NoGrant(f"{location}: what a Spark program leaves, Spark writes and commits")


def job_key(secret: str) -> bytes:
    """Return the key of the ranks of a job (docs/formats/collectives.md)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, None, b"confide collectives 1 job").derive(bytes.fromhex(secret))
