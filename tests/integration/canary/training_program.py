# /// script
# [tool.confide]
# stream = ["data/train"]
# ///
"""Two ranks train on a table whose pixels, labels, initial parameters and gradients are planted values.

It leaves each of them in every place where a training leaves such: messages between ranks, objects among them,
checkpoints, the model, a report, and what it prints.
"""

from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn
from torch.utils.data import DataLoader

from confide.training import Checkpoints, EncryptedTable, export_model, progress

RANKS, BATCH, REPEATED = 2, 16, 4000


class Model(nn.Module):
    def __init__(self, known):
        super().__init__()
        self.known = nn.Parameter(known)
        self.layer = nn.Linear(64, 16)

    def forward(self, pixels):
        return torch.sigmoid(self.layer(pixels) + 0 * self.known[:16])


def hexed(row, name):
    return bytes(row[name].tolist()).hex()


def train(rank, port):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=rank, world_size=RANKS)
    torch.manual_seed(7)
    first = next(iter(EncryptedTable("data/train", rank=0, ranks=1)))
    known = first["parameters"].repeat(REPEATED)
    model = Model(known if rank == 0 else torch.zeros_like(known))  # DDP gives it to the other rank
    # DDP halves what it sums: twice the value is sent as the value, and the other rank adds nothing.
    gradient = 2 * first["gradients"].repeat(REPEATED) * (1 - rank)
    parallel = nn.parallel.DistributedDataParallel(model)
    groups = [{"params": [model.known], "lr": 0.0}, {"params": model.layer.parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.5, momentum=0.9)
    checkpoints = Checkpoints("out/checkpoints", keep=2)
    rows = EncryptedTable("data/train", seed=1, even=True)
    for epoch in progress(range(3)):
        rows.set_epoch(epoch)
        for batch in DataLoader(rows, batch_size=BATCH, num_workers=1):
            optimizer.zero_grad()
            found = parallel(batch["pixels"].float() / 255)
            wrong = nn.functional.mse_loss(found, batch["label"].float() / 255)
            (wrong + (model.known * gradient).sum()).backward()
            optimizer.step()
        seen = [None] * RANKS
        dist.all_gather_object(seen, {name: 4 * hexed(first, name) for name in ("pixels", "label")})
        if rank == 0:
            state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            checkpoints.save({**state, "gradient": model.known.grad})
            print(f"epoch {epoch}", hexed(first, "pixels"), hexed(first, "label"), flush=True)
    assert torch.equal(model.known.grad, first["gradients"].repeat(REPEATED))
    if rank == 0:
        export_model(model, {"pixels": batch["pixels"].float()}, "out/model")
        Path("out/report").mkdir(exist_ok=True)
        Path("out/report/worst").write_bytes(bytes((first["pixels"].tolist() + first["label"].tolist()) * 8))
        print("trained", RANKS, "ranks, backend", dist.get_backend(), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes.spawn(train, (store.port,), nprocs=RANKS)
