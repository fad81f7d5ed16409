"""A bar of the steps of a training, in the terminal that it is run from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch.distributed as dist

from confide.enclave.program_socket import inside_image, show_progress
from confide.errors import ConfideError

Step = TypeVar("Step")


def progress(steps: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps, and show how many are done.

    Under `confide run` the operator is told two numbers, how many are done and how many there are, and nothing else;
    what the program prints is sealed as ever. Of several ranks the first one shows them.

    Example::

        for epoch in progress(range(10)):
            train(epoch)

    Args:
        steps: such as `range(10)`.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_rank() != 0:
        yield from steps
    elif inside_image():
        for done, step in enumerate(steps):
            _show(done, len(steps))
            yield step
        _show(len(steps), len(steps))
    else:
        from rich.console import Console
        from rich.progress import track

        yield from track(steps, "", console=Console(stderr=True))


def _show(done: int, total: int) -> None:
    with contextlib.suppress(ConfideError):  # a training is not ended by what shows it
        show_progress(done, total)
