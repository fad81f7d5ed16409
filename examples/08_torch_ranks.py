# /// script
# [tool.confide]
# args = ["--ranks=[1-8]"]
# ///
"""Distributed PyTorch as it is written anywhere: two processes train one model on handwritten digits with DDP.

It knows nothing of encryption. Plain:      python 08_torch_ranks.py
On an encrypted table, gradients sealed:    confide run --tee simulated --profile python 08_torch_ranks.py
"""

import sys
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn

STEPS = 60


def train(rank, ranks, port):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=rank, world_size=ranks)
    digits = pd.read_parquet("data/digits")
    x = (
        torch.tensor(digits.drop(columns=["id", "digit"]).to_numpy(), dtype=torch.float32).view(-1, 1, 8, 8)
        / 16
    )
    y = torch.tensor(digits["digit"].to_numpy())
    test = torch.tensor((digits["id"] % 4 == 0).to_numpy())
    own = torch.nonzero(~test).flatten()
    own = own[: len(own) // 8 * 8][rank::ranks]  # parts of one size: the mean of means is the mean

    torch.manual_seed(7)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10))
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(parallel.parameters(), lr=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(parallel(x[own]), y[own]).backward()
        optimizer.step()

    if rank == 0:
        with torch.no_grad():
            found = model(x[test]).argmax(1)
        for folder in ("out/scores", "out/model"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        scored = digits.loc[test.numpy(), ["id", "digit"]].assign(found=found.numpy())
        scored.to_parquet("out/scores/part.parquet", index=False)
        torch.save(model.state_dict(), "out/model/weights.pt")
        print(f"accuracy {(found == y[test]).float().mean().item():.3f}")
    dist.destroy_process_group()


def main():
    ranks = int(sys.argv[1].removeprefix("--ranks=")) if sys.argv[1:] else 2
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes.spawn(train, (ranks, store.port), nprocs=ranks)


if __name__ == "__main__":
    main()
