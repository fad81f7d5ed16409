"""Sealed messages over gloo: chunk by chunk, several of them under way, in memory that is made once.

While gloo's own thread sends one chunk, the next one is sealed; and while it receives one, the one before is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from confide.errors import Unavailable
from confide.training.memory import bytes_of
from confide.training.rendezvous import first_line
from confide.training.sealing import (
    CHUNK_BYTES,
    EVERYBODY,
    OVERHEAD_BYTES,
    Incarnation,
    Opener,
    Operation,
    Place,
    Sealer,
    chunks,
)

SENDING = 3
"""Chunks under way to others."""
RECEIVING = 16
"""Receptions posted ahead, of all senders: gloo sends what is waited for at once, without a word in between."""
_SLOT_BYTES = CHUNK_BYTES + OVERHEAD_BYTES
COLLECTIVE_TAG = 0
"""gloo's tag of all collectives, which it keeps in order; messages between two ranks have higher ones."""

Used = Callable[[int, int], None]


@dataclass(frozen=True)
class Outgoing:
    """A message that some ranks get, all the same.

    Attributes:
        plain: its bytes.
        receivers: ranks.
    """

    plain: memoryview
    receivers: Sequence[int]


@dataclass(frozen=True)
class Incoming:
    """A message that is expected.

    Attributes:
        sender: rank.
        size: bytes.
        everybody: whether all other ranks get the same.
        place: where to open the part between two offsets.
        used: called with these when the part is open there.
    """

    sender: int
    size: int
    everybody: bool
    place: Callable[[int, int], memoryview]
    used: Used = lambda _start, _end: None

    @classmethod
    def into(cls, sender: int, memory: memoryview, *, everybody: bool = False) -> Incoming:
        """Return one that is opened into `memory`."""
        return cls(sender, len(memory), everybody, lambda start, end: memory[start:end])


class Channel:
    """This rank's way to the others of its group.

    Args:
        gloo: the groups that carry sealed bytes: to higher ranks, and to lower ones.
        incarnation: of this group.
        rank: of this process.
        ranks: what errors call the ranks.
    """

    def __init__(
        self, gloo: tuple[Any, Any], incarnation: Incarnation, rank: int, ranks: Sequence[int]
    ) -> None:
        self._gloo, self.rank, self.ranks = gloo, rank, ranks
        self.sealer = Sealer(incarnation, rank)
        self.openers = [Opener(incarnation, other, name) for other, name in enumerate(ranks)]
        self._sending: list[_Window] = []
        self._receiving: list[_Window] = []

    def move(
        self, operation: Operation, outgoing: Sequence[Outgoing], incoming: Sequence[Incoming], phase: int = 0
    ) -> None:
        """Send and receive messages of one operation, all at the same time. One thread at a time.

        Raises:
            Tampered: what came is not what that rank sealed for this.
            Unavailable: a rank is gone, or does not answer in time.
        """
        posted = max(2, RECEIVING // max(1, len(incoming)))
        sending = [
            _Sending(self, operation, phase, one, window)
            for one, window in zip(outgoing, _first(self._sending, len(outgoing)), strict=True)
        ]
        receiving = [
            _Receiving(self, operation, phase, one, window, posted)
            for one, window in zip(incoming, _first(self._receiving, len(incoming)), strict=True)
        ]
        ahead = [one for one in sending if one.step()]  # so that no rank waits for one that waits for it
        lanes: list[_Sending | _Receiving] = [*ahead, *receiving]
        while lanes:
            lanes = [lane for lane in lanes if lane.step()]
        for one in sending:
            one.finish()

    def way(self, sender: int, receiver: int) -> Any:
        """Return the group of gloo that carries collectives from one rank to another.

        gloo writes under a lock that its reading thread wants, too, and spins for: with one way each, it does not.
        """
        return self._gloo[sender > receiver]

    def wait(self, work: Any, operation: Operation, other: int) -> None:
        """Wait for gloo. Raises Unavailable, which names the other rank."""
        try:
            work.wait()
        except RuntimeError as error:
            raise Unavailable(
                f"rank {self.ranks[other]}, {operation}: it is gone, or does not answer ({first_line(error)})"
            ) from None


class _Window:
    """Memory of the chunks under way in one direction, made when it is needed first."""

    def __init__(self) -> None:
        self._slots: list[torch.Tensor] = []
        self._views: list[memoryview] = []

    def slot(self, index: int, size: int) -> tuple[torch.Tensor, memoryview]:
        """Return the first `size` bytes of a slot."""
        while len(self._slots) <= index:
            self._slots.append(torch.empty(_SLOT_BYTES, dtype=torch.uint8))
            self._views.append(bytes_of(self._slots[-1]))
        if size == _SLOT_BYTES:
            return self._slots[index], self._views[index]
        return self._slots[index][:size], self._views[index][:size]


def _first(windows: list[_Window], count: int) -> list[_Window]:
    """Return the first windows, after making those that are missing; they are kept for the next operation."""
    windows.extend(_Window() for _ in range(count - len(windows)))
    return windows[:count]


class _Sending:
    def __init__(
        self, channel: Channel, operation: Operation, phase: int, message: Outgoing, window: _Window
    ) -> None:
        self._channel, self._operation, self._message, self._window = channel, operation, message, window
        self._bound = operation.bound(phase)
        self._receiver = message.receivers[0] if len(message.receivers) == 1 else EVERYBODY
        self._works: list[list[tuple[Any, int]]] = [[] for _ in range(SENDING)]
        self._chunk, self._chunks = 0, chunks(len(message.plain))

    def step(self) -> bool:
        """Seal and send the next chunk, and return whether there is another one."""
        chunk, plain = self._chunk, self._message.plain
        self._wait(chunk)
        part = plain[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]
        tensor, view = self._window.slot(chunk % SENDING, len(part) + OVERHEAD_BYTES)
        place = Place(self._channel.rank, self._receiver, chunk, len(plain))
        self._channel.sealer.seal(self._bound, place, part, view)
        way, rank = self._channel.way, self._channel.rank
        self._works[chunk % SENDING] = [
            (way(rank, other).send([tensor], other, COLLECTIVE_TAG), other)
            for other in self._message.receivers
        ]
        self._chunk += 1
        return self._chunk < self._chunks

    def finish(self) -> None:
        """Wait until all is sent."""
        for chunk in range(self._chunk, self._chunk + SENDING):
            self._wait(chunk)

    def _wait(self, chunk: int) -> None:
        works, self._works[chunk % SENDING] = self._works[chunk % SENDING], []
        for work, other in works:
            self._channel.wait(work, self._operation, other)


class _Receiving:
    def __init__(
        self,
        channel: Channel,
        operation: Operation,
        phase: int,
        message: Incoming,
        window: _Window,
        posted: int,
    ) -> None:
        self._channel, self._operation, self._message, self._window = channel, operation, message, window
        self._phase = phase
        self._receiver = EVERYBODY if message.everybody else channel.rank
        self._chunk, self._chunks = 0, chunks(message.size)
        self._works: list[Any] = [None] * posted
        for chunk in range(min(posted, self._chunks)):
            self._post(chunk)

    def step(self) -> bool:
        """Open the next chunk, and return whether there is another one."""
        chunk, message = self._chunk, self._message
        self._channel.wait(self._works[chunk % len(self._works)], self._operation, message.sender)
        start, end = self._range(chunk)
        _, view = self._window.slot(chunk % len(self._works), end - start + OVERHEAD_BYTES)
        place = Place(message.sender, self._receiver, chunk, message.size)
        opener = self._channel.openers[message.sender]
        opener.open(self._operation, self._phase, place, view, message.place(start, end))
        if chunk + len(self._works) < self._chunks:
            self._post(chunk + len(self._works))
        message.used(start, end)
        self._chunk += 1
        return self._chunk < self._chunks

    def _post(self, chunk: int) -> None:
        start, end = self._range(chunk)
        tensor, _ = self._window.slot(chunk % len(self._works), end - start + OVERHEAD_BYTES)
        sender = self._message.sender
        gloo = self._channel.way(sender, self._channel.rank)
        self._works[chunk % len(self._works)] = gloo.recv([tensor], sender, COLLECTIVE_TAG)

    def _range(self, chunk: int) -> tuple[int, int]:
        return chunk * CHUNK_BYTES, min((chunk + 1) * CHUNK_BYTES, self._message.size)
