"""Where ranks find one another: a store that they share, which anybody on the network can read and write.

Through it go gloo's addresses and the random numbers of an incarnation, nothing of the user's. Each value carries a
tag under a key of the job, bound to its name and the group, so that a value of a stranger is refused.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist

from confide.errors import Tampered, Unavailable
from confide.training.sealing import NONCE_BYTES, Incarnation, derive

_TAG_BYTES = 32


class AuthenticatedStore(dist.Store):  # type: ignore[misc]
    """A store whose values only holders of the job's key can make.

    What it counts (`add`) is not authenticated: gloo counts nothing that matters here.

    Args:
        store: the shared one.
        job_key: of the job.
        group: name of the process group.
    """

    def __init__(self, store: dist.Store, job_key: bytes, group: str) -> None:
        super().__init__()
        self._store, self._key = store, derive(job_key, b"store " + group.encode())

    def set(self, key: str, value: str | bytes) -> None:
        """Store a value."""
        data = value.encode() if isinstance(value, str) else bytes(value)
        self._store.set(key, self._tag(key, data) + data)

    def get(self, key: str) -> bytes:
        """Return a value, once it is there.

        Raises:
            Tampered: it is of somebody who does not hold the job's key, or of another name or group.
        """
        value = bytes(self._store.get(key))
        tag, data = value[:_TAG_BYTES], value[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(key, data)):
            raise Tampered(f"rendezvous, {key}: of somebody who does not hold this job's key, or altered")
        return data

    def add(self, key: str, value: int) -> int:
        """Count."""
        return int(self._store.add(key, value))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all keys are there."""
        self._store.wait(list(keys), *(() if timeout is None else (timeout,)))

    def check(self, keys: Sequence[str]) -> bool:
        """Return whether all keys are there."""
        return bool(self._store.check(list(keys)))

    def delete_key(self, key: str) -> bool:
        """Remove a value."""
        return bool(self._store.delete_key(key))

    def set_timeout(self, timeout: timedelta) -> None:
        """Set how long to wait."""
        self._store.set_timeout(timeout)

    def _tag(self, key: str, data: bytes) -> bytes:
        name = key.encode()
        return hmac.digest(self._key, len(name).to_bytes(4, "big") + name + data, "sha256")


def meet(
    store: AuthenticatedStore, job_key: bytes, group: str, rank: int, ranks: Sequence[int]
) -> Incarnation:
    """Exchange random numbers with the other ranks, and return the incarnation they make together.

    Args:
        store: that all share.
        job_key: of the job.
        group: name of the process group.
        rank: of this process in it.
        ranks: what errors call its ranks, in their order.

    Raises:
        Tampered: a rank holds another job's key, or somebody else speaks for it.
        Unavailable: a rank does not come.
    """
    own = os.urandom(NONCE_BYTES)
    store.set(f"nonce/{rank}", own)
    nonces = []
    for other, name in enumerate(ranks):
        try:
            nonce = store.get(f"nonce/{other}")
        except Tampered:
            raise Tampered(
                f"rank {name}, rendezvous: it does not hold this job's key, or its entry was altered"
            ) from None
        except (RuntimeError, ValueError) as error:
            raise Unavailable(f"rank {name} did not come to the rendezvous: {first_line(error)}") from None
        nonces.append(nonce)
    if not hmac.compare_digest(nonces[rank], own):
        raise Tampered(
            f"rank {ranks[rank]}, rendezvous: two processes are started as this rank, or its entry was altered"
        )
    return Incarnation(job_key, group, tuple(nonces))


def first_line(error: Exception) -> str:
    """Return the first line of what torch says; its stack follows."""
    return str(error).partition("\n")[0]
