# /// script
# [tool.confide]
# args = ["--ranks=[1-8]", "--epochs=[0-9]{1,3}"]
# stream = ["data/train", "data/test"]
# ///
"""A small CNN on images straight from encrypted tables, in ranks with DDP; from its checkpoints a later run goes on.

The tables have a label and the pixels of a square image in a list of fixed size; they are never decrypted as a whole.
Plain, on Parquet files:     python 09_encrypted_images.py --ranks=1
On encrypted tables:         confide run --tee simulated --profile python 09_encrypted_images.py --ranks=2
Then its model is served:    confide serve --tee simulated out/model
"""

import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn
from torch.utils.data import DataLoader

from confide.training import Checkpoints, EncryptedTable, export_model, progress

BATCH = 64


def images(batch):
    pixels = batch["pixels"].float() / 255
    side = int(pixels.shape[1] ** 0.5)
    return pixels.view(-1, 1, side, side), batch["label"].long()


def train(rank, ranks, port, epochs):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=rank, world_size=ranks)
    torch.manual_seed(7)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(512, 10)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    checkpoints = Checkpoints("out/checkpoints", keep=2)
    state = checkpoints.load()
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    first = 0 if state is None else state["epoch"] + 1
    if rank == 0:
        print(f"from epoch {first}", flush=True)

    parallel = nn.parallel.DistributedDataParallel(model)
    rows = EncryptedTable("data/train", columns=["pixels", "label"], seed=1, even=True)
    for epoch in progress(range(first, epochs)):
        rows.set_epoch(epoch)
        for batch in DataLoader(rows, batch_size=BATCH // ranks):
            x, y = images(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(x), y).backward()
            optimizer.step()
        if rank == 0:
            checkpoints.save(
                {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            )

    if rank == 0:
        right = count = 0
        with torch.no_grad():
            for batch in EncryptedTable("data/test", batch_size=BATCH, rank=0, ranks=1):
                x, y = images(batch)
                right, count = right + (model(x).argmax(1) == y).sum().item(), count + len(y)
        export_model(model, {"pixels": x}, "out/model", outputs=["scores"])
        print(f"accuracy {right / count:.3f}")
    dist.destroy_process_group()


def main():
    given = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks, epochs = int(given.get("ranks", 2)), int(given.get("epochs", 12))
    processes.spawn(train, (ranks, store.port, epochs), nprocs=ranks)


if __name__ == "__main__":
    main()
