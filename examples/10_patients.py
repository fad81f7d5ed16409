# /// script
# [tool.confide]
# args = ["--ranks=[1-8]", "--epochs=[0-9]{1,3}"]
# stream = ["data/train", "data/test"]
# ///
"""A small network tells malignant from benign by the columns of a table, encrypted as it lies there, in ranks with DDP.

The tables have `patient_id`, thirty measurements, and `malignant`.
Plain, on Parquet files:     python 10_patients.py --ranks=1
On encrypted tables:         confide run --tee simulated --profile python 10_patients.py --ranks=2
"""

import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn
from torch.utils.data import DataLoader

from confide.training import EncryptedTable, export_model, progress

BATCH, MEASUREMENTS = 32, 30


class Scaled(nn.Module):
    def __init__(self, known):
        super().__init__()
        self.register_buffer("mean", known.mean(0))
        self.register_buffer("deviation", known.std(0))

    def forward(self, x):
        return (x - self.mean) / self.deviation


def patients(batch):
    names = [name for name in batch if name not in ("patient_id", "malignant")]
    return torch.stack([batch[name].float() for name in names], 1), batch["malignant"].float()


def train(rank, ranks, port, epochs):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=rank, world_size=ranks)
    torch.manual_seed(7)
    everyone = EncryptedTable("data/train", batch_size=BATCH, rank=0, ranks=1)
    known = torch.cat([patients(batch)[0] for batch in everyone])
    model = nn.Sequential(
        Scaled(known), nn.Linear(MEASUREMENTS, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0)
    )
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    rows = EncryptedTable("data/train", seed=1, even=True, batch_size=BATCH // ranks)
    for epoch in progress(range(epochs)):
        rows.set_epoch(epoch)
        for batch in DataLoader(rows, batch_size=None):
            x, y = patients(batch)
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(parallel(x), y).backward()
            optimizer.step()

    if rank == 0:
        right = count = 0
        with torch.no_grad():
            for batch in EncryptedTable("data/test", batch_size=BATCH, rank=0, ranks=1):
                x, y = patients(batch)
                right, count = right + ((model(x) > 0) == y).sum().item(), count + len(y)
        export_model(model, {"measurements": x}, "out/model", outputs=["logit"])
        print(f"accuracy {right / count:.3f}")
    dist.destroy_process_group()


def main():
    given = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks, epochs = int(given.get("ranks", 2)), int(given.get("epochs", 20))
    processes.spawn(train, (ranks, store.port, epochs), nprocs=ranks)


if __name__ == "__main__":
    main()
