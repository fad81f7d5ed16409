"""Training: PyTorch on encrypted tables, sealed checkpoints and models, ranks that seal what they send one another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confide.training.checkpoints import Checkpoints
    from confide.training.export import export_model
    from confide.training.steps import progress
    from confide.training.table import EncryptedTable

__all__ = ["Checkpoints", "EncryptedTable", "export_model", "progress"]

_MODULES = {
    "Checkpoints": "checkpoints",
    "EncryptedTable": "table",
    "export_model": "export",
    "progress": "steps",
}


def __getattr__(name: str) -> Any:
    # Not at once: torch itself imports `confide.training.inside` while it is being imported.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
