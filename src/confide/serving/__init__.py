"""Serving: models behind the Open Inference Protocol, in attested processes, for clients that seal what they ask."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confide.serving.client import Client
    from confide.serving.identity import AcceptedServing
    from confide.serving.queues import InputQueue, OutputQueue

_WHERE = {
    "AcceptedServing": "confide.serving.identity",
    "Client": "confide.serving.client",
    "InputQueue": "confide.serving.queues",
    "OutputQueue": "confide.serving.queues",
}
__all__ = ["AcceptedServing", "Client", "InputQueue", "OutputQueue"]


def __getattr__(name: str) -> Any:
    # Late: the client needs numpy, and whoever only builds images of this profile may not have it.
    if name not in _WHERE:
        raise AttributeError(name)
    return getattr(import_module(_WHERE[name]), name)
