"""What `torchrun` and its ranks add: a run of its own, and a place where its agents meet.

Agents exchange a state that they unpickle, through a store that anybody on the network can write. So each state carries
a tag under a key of the job, and is looked at only if that is right. Which ranks an agent has follows from that state,
or from its arguments, and not from what else lies in the store. Ranks of one run hold a key of that run.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Any

from torch.distributed.elastic.rendezvous import registry
from torch.distributed.elastic.rendezvous.api import RendezvousParameters
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import RendezvousBackend

from confide.errors import LaunchRefused, Tampered
from confide.training.sealing import derive

RUN = "TORCHELASTIC_RUN_ID"
"""Variable by which `torchrun` tells its ranks which run they are of."""
_TAG_BYTES = 32


def run_key(job_key: bytes, environment: Mapping[str, str]) -> bytes:
    """Return the key of the ranks of this run of `torchrun`; elsewhere the job's."""
    run = environment.get(RUN)
    return job_key if run is None else derive(job_key, b"run " + run.encode())


def authenticate(job_key: bytes | None) -> None:
    """Have agents of `torchrun` take their state from holders of this key alone; without a key, none begin."""
    create_handler = registry.create_handler

    def checked(store: Any, backend: Any, params: RendezvousParameters) -> Any:
        if job_key is None:
            raise LaunchRefused(f"torchrun --rdzv-backend {params.backend}: this process has no key for it")
        return create_handler(store, AuthenticatedState(backend, job_key, params.run_id), params)

    registry.create_handler = checked  # through it go all backends whose state is pickled
    # Else agents tell one another in clear who has which ranks: whoever writes that makes two trainings of one.
    os.environ["TORCH_ELASTIC_WORKER_IDENTICAL"] = "1"


class AuthenticatedState(RendezvousBackend):  # type: ignore[misc]
    """A state that only holders of the job's key can make.

    Args:
        backend: that keeps it.
        job_key: of the job.
        run: identifier of the run.
    """

    def __init__(self, backend: RendezvousBackend, job_key: bytes, run: str) -> None:
        self._backend, self._key = backend, derive(job_key, b"launch " + run.encode())

    @property
    def name(self) -> str:
        """Return the backend's name."""
        return str(self._backend.name)

    def get_state(self) -> tuple[bytes, Any] | None:
        """Return the state and what it is known by; None: there is none yet.

        Raises:
            Tampered: it is of somebody who does not hold the job's key.
        """
        found = self._backend.get_state()
        return None if found is None else (self._opened(found[0]), found[1])

    def set_state(self, state: bytes, token: Any = None) -> tuple[bytes, Any, bool] | None:
        """Replace the state that `token` stands for. Returns what is there now, and raises as `get_state`."""
        found = self._backend.set_state(self._tag(state) + state, token)
        return None if found is None else (self._opened(found[0]), *found[1:])

    def _opened(self, data: bytes) -> bytes:
        tag, state = data[:_TAG_BYTES], data[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(state)):
            raise Tampered("torchrun, rendezvous: of somebody who does not hold this job's key, or altered")
        return state

    def _tag(self, state: bytes) -> bytes:
        return hmac.digest(self._key, state, "sha256")
