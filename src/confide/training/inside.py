"""What torch starts in every image as soon as it is imported (its entry point `torch.backends`)."""

from __future__ import annotations

import os

from confide.enclave.group_key import read_group_key


def activate() -> None:
    """Allow no backend that sends in clear, and register the sealed one where this workload has a key for it."""
    from confide.training.backend import allow_no_other, register
    from confide.training.launch import authenticate, run_key

    allow_no_other()
    key = read_group_key()
    authenticate(key)
    if key is not None:
        register(run_key(key, os.environ))
