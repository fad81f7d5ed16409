"""`confide` as a backend of torch.distributed, and no other one beside it."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NoReturn

import torch.distributed as dist
from torch.distributed import distributed_c10d, rpc

from confide.errors import LaunchRefused
from confide.training.process_group import BACKEND, SealedProcessGroup


def register(job_key: bytes) -> None:
    """Register the backend `confide` with torch.distributed, for groups of ranks that hold this key.

    Args:
        job_key: 32 random bytes, of one job.
    """

    def create(options: Any, _own: Any) -> SealedProcessGroup:  # a closure: its repr does not show the key
        ranks = list(options.global_ranks_in_group) or list(range(options.group_size))
        group = str(options.group_id)
        return SealedProcessGroup(options.store, options.group_rank, ranks, group, options.timeout, job_key)

    dist.Backend.register_backend(BACKEND, create, extended_api=True, devices=["cpu"])


def allow_no_other() -> None:
    """Make it the backend of groups that name none, and refuse all others by name, from now on."""
    for device in dist.Backend.default_device_backend_map:
        dist.Backend.default_device_backend_map[device] = BACKEND
    if importlib.util.find_spec("torch.distributed._dist2"):  # being tried out, for gloo and nccl alone
        from torch.distributed import _dist2

        _dist2._BACKENDS.clear()
    if rpc.is_available():
        rpc.backend_registry.init_backend = _no_rpc
    # All other groups are made here; it has no hook for this.
    helper = distributed_c10d._new_process_group_helper

    @functools.wraps(helper)
    def checked(group_size: int, group_rank: int, ranks: Any, backend: Any, *rest: Any, **named: Any) -> Any:
        for name in sorted(part.rpartition(":")[2] for part in str(backend).lower().split(",")):
            if name not in (BACKEND, dist.Backend.UNDEFINED):
                raise LaunchRefused(
                    f"torch.distributed backend {name}: it sends tensors in clear. Leave the backend out, or name "
                    f"{BACKEND}: it is gloo with every byte sealed"
                )
        if BACKEND not in dist.Backend.backend_list:
            raise LaunchRefused(
                f"torch.distributed backend {BACKEND}: this process has no key for it. Ranks get one in programs "
                "of the profiles python and spark"
            )
        backend = dist.Backend(BACKEND)
        return helper(group_size, group_rank, ranks, backend, *rest, **named)

    distributed_c10d._new_process_group_helper = checked


def _no_rpc(*_: Any, **__: Any) -> NoReturn:
    raise LaunchRefused(
        "torch.distributed.rpc: it sends in clear, and runs what anybody on the network sends it. Exchange tensors by "
        f"torch.distributed, backend {BACKEND}"
    )
