"""A process group of torch.distributed in which every byte between ranks is sealed. gloo carries what is sealed.

It has no backend in torch's sense: what is not here, torch refuses, and does not hand to gloo in clear.
"""

from __future__ import annotations

import atexit
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from confide.errors import Misuse
from confide.training import collectives
from confide.training.channel import COLLECTIVE_TAG, Channel
from confide.training.memory import bytes_of, dense
from confide.training.reduction import Reduction
from confide.training.rendezvous import AuthenticatedStore, meet
from confide.training.sealing import Operation, open_message, seal_message, sealed_bytes
from confide.training.work import SealedMessage, SealedWork, Worker

STOP_SECONDS = 5.0
BACKEND = "confide"
_CODES = {
    "broadcast": 1,
    "all-reduce": 2,
    "reduce": 3,
    "all-gather": 4,
    "gather": 5,
    "scatter": 6,
    "reduce-scatter": 7,
    "all-to-all": 8,
    "barrier": 9,
    "message": 10,
}
Tensors = list[torch.Tensor]
Action = Callable[[Channel, Operation, Tensors, Tensors], None]


class SealedProcessGroup(dist.ProcessGroup):  # type: ignore[misc]
    """A group of ranks that hold the same job key.

    Args:
        store: that the ranks share; need not be trusted.
        rank: of this process in the group.
        ranks: its ranks, as the whole job counts them.
        group: its name.
        timeout: of every message.
        job_key: of the job, 32 bytes.

    Raises:
        Tampered: a rank holds another job's key.
        Unavailable: a rank does not come.
    """

    def __init__(
        self,
        store: dist.Store,
        rank: int,
        ranks: Sequence[int],
        group: str,
        timeout: timedelta,
        job_key: bytes,
    ) -> None:
        super().__init__(rank, len(ranks))
        self._rank, self._group, self._closed = rank, group, False
        authenticated = AuthenticatedStore(store, job_key, group)
        incarnation = meet(authenticated, job_key, group, rank, ranks)
        gloo = [
            dist.ProcessGroupGloo(dist.PrefixStore(way, authenticated), rank, len(ranks), timeout)
            for way in ("up", "down")
        ]
        self._channel = Channel((gloo[0], gloo[1]), incarnation, rank, ranks)
        self._messages_gloo = gloo[0]  # both ways, as who sends need not be known
        self._sequence, self._messages = 0, Counter[tuple[str, int, int]]()
        self._worker = Worker(f"confide-{group}")
        # A daemon thread in torch when Python ends would end the process by a signal.
        self._at_exit = weakref.WeakMethod(self.shutdown)
        atexit.register(_call, self._at_exit)

    def getBackendName(self) -> str:  # noqa: N802 - torch's
        """Return the backend's name."""
        return BACKEND

    def getGroupName(self) -> str:  # noqa: N802
        """Return the group's name, by which torch finds it again."""
        return self._group

    def setGroupName(self, name: str) -> None:  # noqa: N802
        """Have it called so by torch; keys are of the name that it was made with."""
        self._group = name

    @property
    def _device_types(self) -> list[torch.device]:
        return [torch.device("cpu")]

    def shutdown(self) -> None:
        """End the group: what is under way may end first."""
        if not self._closed:
            self._closed = True
            self._worker.stop(STOP_SECONDS)

    def broadcast(self, tensors: Tensors, opts: Any) -> dist.Work:
        """Copy the root's tensor to all."""
        root = opts.rootRank
        return self._start(
            "broadcast", lambda ch, op, outs, _: collectives.broadcast(ch, op, _one(outs), root), tensors
        )

    def allreduce(self, tensors: Tensors, opts: Any) -> dist.Work:
        """Reduce all ranks' tensors into all."""
        kind = Reduction(opts.reduceOp, _one(tensors).dtype)
        return self._start(
            "all-reduce",
            lambda ch, op, outs, _: collectives.all_reduce(ch, op, _one(outs), kind),
            tensors,
            detail=kind.name,
        )

    def allreduce_coalesced(self, tensors: Tensors, opts: Any) -> dist.Work:
        """Reduce several tensors."""
        return _last([self.allreduce([tensor], opts) for tensor in tensors], tensors)

    def reduce(self, tensors: Tensors, opts: Any) -> dist.Work:
        """Reduce all ranks' tensors into the root's."""
        kind, root = Reduction(opts.reduceOp, _one(tensors).dtype), opts.rootRank
        return self._start(
            "reduce",
            lambda ch, op, outs, _: collectives.reduce(ch, op, _one(outs), root, kind),
            tensors,
            detail=kind.name,
        )

    def allgather(self, outputs: list[Tensors], inputs: Tensors, opts: Any) -> dist.Work:  # noqa: ARG002
        """Copy every rank's tensor to all."""
        return self._start(
            "all-gather",
            lambda ch, op, outs, ins: collectives.all_gather(ch, op, outs, _one(ins)),
            _one(outputs),
            inputs,
        )

    def allgather_coalesced(self, outputs: list[Tensors], inputs: Tensors, opts: Any) -> dist.Work:
        """Copy every rank's tensors to all; `outputs` holds a list for each rank."""
        works = [self.allgather([list(to)], [own], opts) for *to, own in zip(*outputs, inputs, strict=True)]
        return _last(works, outputs)

    def all_gather_single(self, output: torch.Tensor, own: torch.Tensor, opts: Any) -> dist.Work:  # noqa: ARG002
        """Copy every rank's tensor to all, one after the other in one tensor."""
        ranks = self.size()
        return self._start(
            "all-gather",
            lambda ch, op, outs, ins: collectives.all_gather(
                ch, op, _parts(_one(outs), ranks), _one(ins).view(-1)
            ),
            [output],
            [own],
        )

    def all_gather_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any) -> dist.Work:
        """Do several `all_gather_single`."""
        pairs = zip(outputs, inputs, strict=True)
        return _last([self.all_gather_single(output, own, opts) for output, own in pairs], outputs)

    def gather(self, outputs: list[Tensors], inputs: Tensors, opts: Any) -> dist.Work:
        """Copy every rank's tensor to the root."""
        root = opts.rootRank
        return self._start(
            "gather",
            lambda ch, op, outs, ins: collectives.gather(ch, op, outs, _one(ins), root),
            _one(outputs) if self._rank == root else [],
            inputs,
        )

    def scatter(self, outputs: Tensors, inputs: list[Tensors], opts: Any) -> dist.Work:
        """Copy each of the root's tensors to one rank."""
        root = opts.rootRank
        return self._start(
            "scatter",
            lambda ch, op, outs, ins: collectives.scatter(ch, op, _one(outs), ins, root),
            outputs,
            _one(inputs) if self._rank == root else [],
        )

    def reduce_scatter(self, outputs: Tensors, inputs: list[Tensors], opts: Any) -> dist.Work:
        """Reduce the tensors number i of all ranks into rank i's."""
        kind = Reduction(opts.reduceOp, _one(outputs).dtype)
        return self._start(
            "reduce-scatter",
            lambda ch, op, outs, ins: collectives.reduce_scatter(ch, op, _one(outs), ins, kind),
            outputs,
            _one(inputs),
            detail=kind.name,
        )

    def reduce_scatter_single(self, output: torch.Tensor, own: torch.Tensor, opts: Any) -> dist.Work:
        """Reduce the part number i of all ranks' tensors into rank i's."""
        kind, ranks = Reduction(opts.reduceOp, output.dtype), self.size()
        return self._start(
            "reduce-scatter",
            lambda ch, op, outs, ins: collectives.reduce_scatter(
                ch, op, _one(outs).view(-1), _parts(_one(ins), ranks), kind
            ),
            [output],
            [own],
            detail=kind.name,
        )

    def reduce_scatter_single_coalesced(self, outputs: Tensors, inputs: Tensors, opts: Any) -> dist.Work:
        """Do several `reduce_scatter_single`."""
        pairs = zip(outputs, inputs, strict=True)
        return _last([self.reduce_scatter_single(output, own, opts) for output, own in pairs], outputs)

    def alltoall(self, outputs: Tensors, inputs: Tensors, opts: Any) -> dist.Work:  # noqa: ARG002
        """Copy the tensor number j of rank i to number i of rank j."""
        return self._start("all-to-all", collectives.all_to_all, outputs, inputs)

    def all_to_all_single(
        self,
        output: torch.Tensor,
        own: torch.Tensor,
        receive: list[int],
        send: list[int],
        opts: Any,  # noqa: ARG002
    ) -> dist.Work:
        """Copy parts of tensors likewise. `receive` and `send` are their lengths; empty: all alike."""
        ranks = self.size()

        def action(ch: Channel, op: Operation, outs: Tensors, ins: Tensors) -> None:
            collectives.all_to_all(ch, op, _parts(_one(outs), ranks, receive), _parts(_one(ins), ranks, send))

        return self._start("all-to-all", action, [output], [own])

    def barrier(self, opts: Any = None) -> dist.Work:  # noqa: ARG002
        """Return when all ranks are here."""
        return self._start("barrier", lambda ch, op, _outs, _ins: collectives.barrier(ch, op), [])

    # torch calls these by their older names, too.
    _allgather_base = all_gather_single
    allgather_into_tensor_coalesced = all_gather_single_coalesced
    _reduce_scatter_base = reduce_scatter_single
    reduce_scatter_tensor_coalesced = reduce_scatter_single_coalesced
    alltoall_base = all_to_all_single

    def send(self, tensors: Tensors, receiver: int, tag: int) -> dist.Work:
        """Send a tensor to one rank."""
        plain = bytes_of(tensor := dense(_one(tensors)))
        operation = self._message("to", receiver, tag, tensor)
        sealed = torch.empty(sealed_bytes(len(plain)), dtype=torch.uint8)
        seal_message(self._channel.sealer, operation, self._rank, receiver, plain, bytes_of(sealed))
        work = self._messages_gloo.send([sealed], receiver, COLLECTIVE_TAG + 1 + tag)
        return SealedMessage(work, lambda _: self._channel.wait(work, operation, receiver), receiver)

    def recv(self, tensors: Tensors, sender: int, tag: int) -> dist.Work:
        """Receive a tensor from one rank."""
        return self._receive(_one(tensors), sender, tag)

    def recv_anysource(self, tensors: Tensors, tag: int) -> dist.Work:
        """Receive a tensor from whoever sends one."""
        return self._receive(_one(tensors), None, tag)

    def _receive(self, tensor: torch.Tensor, sender: int | None, tag: int) -> dist.Work:
        out = dense(tensor)
        sealed = torch.empty(sealed_bytes(out.numel() * out.element_size()), dtype=torch.uint8)
        gloo, number = self._messages_gloo, COLLECTIVE_TAG + 1 + tag
        if sender is None:
            work, known = gloo.recv_anysource([sealed], number), None
        else:
            work = gloo.recv([sealed], sender, number)
            known = self._message("from", sender, tag, tensor)

        def finish(source: int) -> None:
            operation = known or self._message("from", source, tag, tensor)
            if known is not None:  # else it was waited for, to know whose it is
                self._channel.wait(work, operation, source)
            opener = self._channel.openers[source]
            open_message(opener, operation, (source, self._rank), bytes_of(sealed), bytes_of(out))
            if out is not tensor:
                with torch.no_grad():
                    tensor.copy_(out)

        return SealedMessage(work, finish, sender)

    def _message(self, way: str, other: int, tag: int, tensor: torch.Tensor) -> Operation:
        number = self._messages[way, other, tag]
        self._messages[way, other, tag] += 1
        return Operation("message", _CODES["message"], number, tag, str(tensor.dtype))

    def _start(
        self,
        name: str,
        action: Action,
        outputs: Tensors,
        inputs: Sequence[torch.Tensor] = (),
        detail: str = "",
    ) -> SealedWork:
        """Have a collective done after those before it, on contiguous tensors; copy what it leaves where it belongs."""
        if self._closed:
            raise Misuse("this process group was destroyed")
        outs, ins = [dense(tensor) for tensor in outputs], [dense(tensor) for tensor in inputs]
        types = " ".join(sorted({str(tensor.dtype) for tensor in [*outs, *ins]}))
        operation = Operation(name, _CODES[name], self._sequence, detail=f"{types} {detail}")
        self._sequence += 1

        def run() -> None:
            with torch.no_grad():
                action(self._channel, operation, outs, ins)
                for tensor, out in zip(outputs, outs, strict=True):
                    if out is not tensor:
                        tensor.copy_(out)

        return self._worker.do(run, outputs)


def _one(items: Sequence[Any]) -> Any:
    if len(items) != 1:
        raise Misuse(f"{len(items)} tensors where one is expected")
    return items[0]


def _last(works: Sequence[SealedWork], result: Any) -> dist.Work:
    """Return the last of works in turn, which ends after all of them and fails if one does."""
    if works:
        return works[-1]
    work = SealedWork(result)
    work.end()
    return work


def _parts(tensor: torch.Tensor, ranks: int, rows: Sequence[int] = ()) -> Tensors:
    """Return a tensor's parts, one for each rank: all alike, or of so many rows of its first dimension."""
    if rows:
        return list(tensor.split(list(rows)))
    flat = tensor.view(-1)
    if flat.numel() % ranks:
        raise Misuse(f"{flat.numel()} elements do not divide among {ranks} ranks")
    size = flat.numel() // ranks
    return [flat[rank * size : (rank + 1) * size] for rank in range(ranks)]


def _call(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    if (function := method()) is not None:
        function()
