"""One of two ranks: `python -m benchmarks.training.rank RANK PORT ROUNDS`, the job's key in hex on standard input.

Both sides are groups of the same two processes, and take turns. Rank 0 prints seconds as JSON: what -> side -> values.
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import torch
import torch.distributed as dist
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from torch import nn

from confide.training.backend import register

GRADIENT_BYTES = 25_000_000
CHUNK_BYTES = 1 << 20
TIMEOUT = datetime.timedelta(seconds=300)


def main() -> None:
    """Run as one rank."""
    rank, port, rounds = map(int, sys.argv[1:])
    torch.set_num_threads(1)
    register(bytes.fromhex(sys.stdin.readline()))
    store = dist.TCPStore("127.0.0.1", port, is_master=rank == 0, timeout=TIMEOUT)
    dist.init_process_group("confide", store=store, rank=rank, world_size=2, timeout=TIMEOUT)
    groups = {"plain": dist.new_group(backend="gloo"), "sealed": dist.group.WORLD}
    tensor = torch.ones(GRADIENT_BYTES // 4)
    measured = {
        "all-reduce": _in_turn(
            {
                side: lambda group=group: dist.all_reduce(tensor.fill_(1), group=group)
                for side, group in groups.items()
            },
            4 * rounds,
        ),
        "CNN": _in_turn(
            {side: _step(_cnn(), _images(), group) for side, group in groups.items()}, 4 * rounds
        ),
        "transformer": _in_turn(
            {side: _step(_transformer(), _text(), group) for side, group in groups.items()}, rounds
        ),
        "floor": {"seal and open 25 MB": [_cipher(tensor)], "copy 25 MB": [_copy(tensor)]},
    }
    if rank == 0:
        print(json.dumps(measured))
    dist.destroy_process_group()


def _in_turn(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time the sides in turn; the first two rounds warm up."""
    seconds = defaultdict(list)
    for _ in range(2 + rounds):
        for side, action in sides.items():
            dist.barrier()
            start = time.perf_counter()
            action()
            seconds[side].append(time.perf_counter() - start)
    return {side: values[2:] for side, values in seconds.items()}


def _step(
    model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], group: dist.ProcessGroup
) -> Callable[[], None]:
    parallel = nn.parallel.DistributedDataParallel(model, process_group=group)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.01)
    x, y = batch

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(parallel(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()

    return step


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(64, 1, 28, 28), torch.randint(10, (64,))


def _transformer() -> nn.Module:
    """About 25 million parameters."""
    layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Embedding(256, 512), nn.TransformerEncoder(layer, 8), nn.Linear(512, 256))
    assert abs(sum(p.numel() for p in model.parameters()) - 25_000_000) < 1_000_000
    return model


def _text() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(256, (8, 128)), torch.randint(256, (8, 128))


def _cipher(tensor: torch.Tensor) -> float:
    """Return the seconds that sealing and opening the gradients takes, in chunks, by the library alone."""
    aead, nonce = AESGCM(bytes(32)), bytes(12)
    plain, sealed = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES + 16)
    start = time.perf_counter()
    for _ in range(tensor.nbytes // CHUNK_BYTES):
        aead.encrypt_into(nonce, plain, b"", sealed)
        aead.decrypt_into(nonce, sealed, b"", plain)
    return time.perf_counter() - start


def _copy(tensor: torch.Tensor) -> float:
    to = tensor.clone()
    start = time.perf_counter()
    to.copy_(tensor)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
