"""Two ranks train a model whose parameters and gradients are known: `python canary.py BACKEND PARAMETERS GRADIENTS`.

Both are bytes of float32 values, in hex. Run in a network of its own, whose traffic is searched for them.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import torch
import torch.distributed as dist
from torch import nn

from confide.training.backend import register

ROW = 50_000
"""Values of each kind, the given ones again and again."""


class Model(nn.Module):
    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.weight * x).sum()


def _repeated(text: str) -> torch.Tensor:
    values = torch.frombuffer(bytearray.fromhex(text), dtype=torch.float32)
    return values.repeat(ROW // len(values))


def _rank(rank: int, backend: str, port: int, parameters: str, gradients: str) -> None:
    torch.set_num_threads(1)
    register(bytes.fromhex(sys.stdin.readline()))
    store = dist.TCPStore("127.0.0.1", port, is_master=rank == 0)
    dist.init_process_group(backend, store=store, rank=rank, world_size=2)
    weight = _repeated(parameters)
    model = nn.parallel.DistributedDataParallel(Model(weight if rank == 0 else torch.zeros_like(weight)))
    # DDP halves what it sums, so that twice the value is sent as the value; the other rank adds nothing.
    model(2 * _repeated(gradients) * (1 - rank)).backward()
    assert torch.equal(model.module.weight.grad, _repeated(gradients))
    assert torch.equal(model.module.weight.detach(), weight)
    said = ["object " + bytes.fromhex(parameters).hex()] if rank == 0 else [None]
    dist.broadcast_object_list(said)
    dist.destroy_process_group()


def main() -> None:
    backend, parameters, gradients = sys.argv[1:4]
    if sys.argv[4:]:
        _rank(int(sys.argv[4]), backend, int(sys.argv[5]), parameters, gradients)
        return
    key = secrets.token_hex(32)
    ranks = [
        subprocess.Popen([sys.executable, *sys.argv, str(rank), "29411"], stdin=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for rank in ranks:
        rank.stdin.write(key + "\n")
        rank.stdin.flush()
    sys.exit(max(rank.wait() for rank in ranks))


if __name__ == "__main__":
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    main()
