"""Keeping the memory of a process that holds keys from other processes, and from core dumps."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4
_NO_CORE = 1
"""Bytes. Too few for a core file; and 1, unlike 0, also stops the kernel from piping a core to a program."""


def keep_memory_private() -> None:
    """Keep other processes of the same user from reading this one (prctl(2)), and it from dumping core.

    Processes that it starts dump no core either; they can be traced again, until they call this themselves.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = _NO_CORE if hard == resource.RLIM_INFINITY else min(_NO_CORE, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
