"""Checkpoints of a training: whole or not at all, sealed and committed where the program runs in an image."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import torch

from confide.data.atomic import SteadyFile, atomic_file
from confide.enclave.program_socket import commit_output, inside_image
from confide.errors import InvalidFormat, Misuse

_NAME = re.compile(r"checkpoint-([0-9]{8,18})\.pt")
_LEAVES = (torch.Tensor, torch.nn.Parameter, int, float, bool, str, bytes, type(None))


class Checkpoints:
    """The last checkpoints of a training, in a folder.

    Under `confide run` the folder is a location that the policy lets the program write (`--write-files`): each `save`
    is encrypted by the agent and committed at the broker before it returns, and a later run finds what was committed
    last, or does not start. Elsewhere it is any folder. What is read is never unpickled beyond tensors, numbers, text
    and containers of them (`torch.load(weights_only=True)`).

    Example::

        checkpoints = Checkpoints("out/checkpoints")
        state = checkpoints.load() or {"epoch": -1}
        if "model" in state:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        for epoch in range(state["epoch"] + 1, 10):
            train(model, optimizer)
            if rank == 0:
                checkpoints.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()})

    Args:
        folder: of the checkpoints and nothing else; in an image relative, as the policy names it.
        keep: how many of the newest ones stay.

    Raises:
        Misuse: `keep` is less than one, or the folder of an image is not relative.
    """

    def __init__(self, folder: str | Path, *, keep: int = 3) -> None:
        if keep < 1:
            raise Misuse("at least one checkpoint is kept")
        path = PurePosixPath(folder)
        if inside_image() and (path.is_absolute() or ".." in path.parts):
            raise Misuse(f"{folder}: give the location of checkpoints as the policy names it")
        self._folder, self._location, self._keep = Path(folder), str(path), keep

    def save(self, state: Mapping[str, Any]) -> Path:
        """Save one more; by one rank, when `state` is whole.

        Args:
            state: tensors, numbers, text, and lists, tuples and dictionaries of them; `state_dict()` is that.

        Raises:
            Misuse: something else is in it.
            NoGrant: the policy does not let this program write there.
            Conflict, BrokerUnavailable, StorageUnavailable: it was not committed; the next `save` does that too.
        """
        _check("state", state)
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(".confide-*.tmp"):  # by a process that was killed
            left.unlink()
        found = self._found()
        number = found[-1][0] + 1 if found else 1
        path = self._folder / f"checkpoint-{number:08d}.pt"
        with atomic_file(path) as file:
            torch.save(dict(state), cast("BinaryIO", SteadyFile(file)))
        for _, old in self._found()[: -self._keep]:
            old.unlink()
        if inside_image():
            commit_output(self._location)
        return path

    def load(self) -> dict[str, Any] | None:
        """Return the newest one that can be read, on the CPU; None if there is none.

        An unreadable one, which a crash of the machine can leave outside of an image, is passed over with a warning.

        Raises:
            InvalidFormat: there are some, and none can be read.
        """
        found = self._found()
        for _, path in reversed(found):
            try:
                return dict(torch.load(path, map_location="cpu", weights_only=True))
            except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as error:
                reason = str(error).partition("\n")[0]
                warnings.warn(f"{path} is passed over: {reason}", RuntimeWarning, stacklevel=2)
        if found:
            raise InvalidFormat(f"no checkpoint in {self._folder} can be read")
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """Return number and path of each, the oldest first."""
        if not self._folder.is_dir():
            return []
        names = ((_NAME.fullmatch(path.name), path) for path in self._folder.iterdir())
        return sorted((int(match[1]), path) for match, path in names if match)


def _check(where: str, value: Any) -> None:
    """Refuse what `torch.load(weights_only=True)` would not read again."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _check(f"{where}[{key!r}]", one)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            _check(f"{where}[{number}]", one)
    elif type(value) not in _LEAVES:
        raise Misuse(
            f"{where} is a {type(value).__name__}: a checkpoint holds tensors, numbers, text, and lists, tuples and "
            "dictionaries of them"
        )
