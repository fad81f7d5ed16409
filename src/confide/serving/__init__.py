"""Serving: models behind the Open Inference Protocol, in attested processes, for clients that seal what they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confide.serving.client import Client
    from confide.serving.identity import AcceptedServing

__all__ = ["AcceptedServing", "Client"]


def __getattr__(name: str) -> Any:
    # Late: the client needs numpy, and whoever only builds images of this profile may not have it.
    if name == "Client":
        from confide.serving.client import Client

        return Client
    if name == "AcceptedServing":
        from confide.serving.identity import AcceptedServing

        return AcceptedServing
    raise AttributeError(name)
