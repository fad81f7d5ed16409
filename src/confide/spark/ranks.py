"""Ranks of PyTorch in a Spark program (`TorchDistributor`): the key by which they seal what they send one another.

They are processes of the driver's program or of its functions, in driver and executors. All members of a job make the
key from the job's secret; without executors the driver draws one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.enclave import group_key
from confide.enclave.group_key import KEY_BYTES, GroupKey
from confide.enclave.libos import inside_libos
from confide.enclave.profile import Context
from confide.spark.cluster_settings import Job
from confide.spark.server_configuration import is_server


@contextlib.contextmanager
def group(context: Context, job: Job | None) -> Iterator[None]:
    """Give processes of the program that key meanwhile, where the image holds PyTorch; not to clients of a server.

    Args:
        context: of the workload.
        job: that it is a member of; None: it has no executors.
    """
    without_torch = importlib.util.find_spec("torch") is None
    if without_torch or inside_libos() is not None or is_server(context.image.program):
        yield
        return
    key = secrets.token_bytes(KEY_BYTES) if job is None else job_key(job.stores.secret)
    folder = context.socket.parent / Path(group_key.FOLDER).name
    with contextlib.closing(GroupKey(folder, key)):
        yield


def job_key(secret: str) -> bytes:
    """Return the key of the ranks of a job (docs/formats/collectives.md)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, None, b"confide collectives 1 job").derive(bytes.fromhex(secret))
