"""The collectives, as messages between ranks: each owns a part of what is reduced, and tells the others its result.

All tensors are dense and on the CPU. Every function returns when this rank is done, and raises as `Channel.move`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from confide.training.channel import Channel, Incoming, Outgoing
from confide.training.memory import bytes_of
from confide.training.reduction import Reduction, name_nan
from confide.training.sealing import CHUNK_BYTES, Operation

Tensors = Sequence[torch.Tensor]


def broadcast(channel: Channel, operation: Operation, tensor: torch.Tensor, root: int) -> None:
    """Copy the root's tensor to all."""
    others = _others(channel)
    if channel.rank != root:
        everybody = len(others) > 1
        channel.move(operation, [], [Incoming.into(root, bytes_of(tensor), everybody=everybody)])
    elif others:
        channel.move(operation, [Outgoing(bytes_of(tensor), others)], [])


def scatter(channel: Channel, operation: Operation, output: torch.Tensor, inputs: Tensors, root: int) -> None:
    """Copy each of the root's tensors to one rank. `inputs` is empty elsewhere."""
    if channel.rank == root:
        channel.move(operation, [Outgoing(bytes_of(inputs[rank]), [rank]) for rank in _others(channel)], [])
        if output is not inputs[root]:
            output.copy_(inputs[root])
    else:
        channel.move(operation, [], [Incoming.into(root, bytes_of(output))])


def all_gather(
    channel: Channel, operation: Operation, outputs: Tensors, own: torch.Tensor, phase: int = 0
) -> None:
    """Copy every rank's tensor to all."""
    others = _others(channel)
    everybody = len(others) > 1
    outgoing = [Outgoing(bytes_of(own), others)] if others else []
    incoming = [Incoming.into(rank, bytes_of(outputs[rank]), everybody=everybody) for rank in others]
    channel.move(operation, outgoing, incoming, phase)
    if outputs[channel.rank] is not own:
        outputs[channel.rank].copy_(own)


def gather(channel: Channel, operation: Operation, outputs: Tensors, own: torch.Tensor, root: int) -> None:
    """Copy every rank's tensor to the root. `outputs` is empty elsewhere."""
    if channel.rank == root:
        channel.move(
            operation, [], [Incoming.into(rank, bytes_of(outputs[rank])) for rank in _others(channel)]
        )
        outputs[root].copy_(own)
    else:
        channel.move(operation, [Outgoing(bytes_of(own), [root])], [])


def all_to_all(channel: Channel, operation: Operation, outputs: Tensors, inputs: Tensors) -> None:
    """Copy the tensor number j of rank i to number i of rank j."""
    channel.move(
        operation,
        [Outgoing(bytes_of(inputs[rank]), [rank]) for rank in _others(channel)],
        [Incoming.into(rank, bytes_of(outputs[rank])) for rank in _others(channel)],
    )
    outputs[channel.rank].copy_(inputs[channel.rank])


def barrier(channel: Channel, operation: Operation) -> None:
    """Return when all ranks are here."""
    nothing = memoryview(bytearray())
    channel.move(
        operation,
        [Outgoing(nothing, [rank]) for rank in _others(channel)],
        [Incoming.into(rank, nothing) for rank in _others(channel)],
    )


def reduce(
    channel: Channel, operation: Operation, tensor: torch.Tensor, root: int, reduction: Reduction
) -> None:
    """Reduce all ranks' tensors into the root's; the others' stay as they are."""
    if channel.rank == root:
        channel.move(operation, [], _reducing(channel, operation, tensor, reduction))
        reduction.finish(tensor, len(channel.ranks))
    else:
        channel.move(operation, [Outgoing(bytes_of(tensor), [root])], [])


def reduce_scatter(
    channel: Channel, operation: Operation, output: torch.Tensor, inputs: Tensors, reduction: Reduction
) -> None:
    """Reduce the tensors number i of all ranks into rank i's output, which may be its own input."""
    own = inputs[channel.rank]
    if output is not own:
        output.copy_(own.view(output.shape))
    outgoing = [Outgoing(bytes_of(inputs[rank]), [rank]) for rank in _others(channel)]
    channel.move(operation, outgoing, _reducing(channel, operation, output, reduction))
    reduction.finish(output, len(channel.ranks))


def all_reduce(channel: Channel, operation: Operation, tensor: torch.Tensor, reduction: Reduction) -> None:
    """Reduce all ranks' tensors into all: each rank reduces its part, then tells the others."""
    flat, ranks = tensor.view(-1), len(channel.ranks)
    bounds = [flat.numel() * rank // ranks for rank in range(ranks + 1)]
    parts = [flat[start:end] for start, end in itertools.pairwise(bounds)]
    reduce_scatter(channel, operation, parts[channel.rank], parts, reduction)
    all_gather(channel, operation, parts, parts[channel.rank], phase=1)


def _others(channel: Channel) -> list[int]:
    """Return the other ranks, each rank's next one first, so that not all send to the same."""
    ranks = len(channel.ranks)
    return [(channel.rank + step) % ranks for step in range(1, ranks)]


def _reducing(
    channel: Channel, operation: Operation, tensor: torch.Tensor, reduction: Reduction
) -> list[Incoming]:
    """Return what is expected from the others to be reduced into this rank's tensor."""
    flat, width = tensor.view(-1), tensor.element_size()
    opened = torch.empty(min(flat.numel(), CHUNK_BYTES // width), dtype=tensor.dtype)
    memory = bytes_of(opened)
    others = _others(channel)

    def incoming(sender: int) -> Incoming:
        def used(start: int, end: int) -> None:
            own, other = flat[start // width : end // width], opened[: (end - start) // width]
            reduction.into(own, other)
            if reduction.has_nan(own):  # looked for in the result alone, while it is in the cache
                if reduction.has_nan(other):
                    name_nan(channel.ranks[sender], operation)
                elif (
                    sender == others[0] and not other.isinf().any()
                ):  # infinities of both signs make one, too
                    name_nan(channel.ranks[channel.rank], operation)

        return Incoming(sender, len(flat) * width, False, lambda start, end: memory[: end - start], used)

    return [incoming(sender) for sender in others]
