"""Training: PyTorch on encrypted tables, with sealed checkpoints, by ranks that seal what they send one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confide.training.checkpoints import Checkpoints
    from confide.training.table import EncryptedTable

__all__ = ["Checkpoints", "EncryptedTable"]


def __getattr__(name: str) -> Any:
    # Not at once: torch itself imports `confide.training.inside` while it is being imported.
    if name == "Checkpoints":
        from confide.training.checkpoints import Checkpoints

        return Checkpoints
    if name == "EncryptedTable":
        from confide.training.table import EncryptedTable

        return EncryptedTable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
