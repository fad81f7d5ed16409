# /// script
# [tool.confide]
# args = ["--ranks=[1-8]", "--epochs=[0-9]{1,3}"]
# stream = ["data/train", "data/test"]
# ///
"""A small transformer learns which language a text is in, straight from an encrypted table, in ranks with DDP.

The tables have `text` and `language`, a number.
Plain, on Parquet files:     python 13_transformer.py --ranks=1
On encrypted tables:         confide run --tee simulated --profile python 13_transformer.py --ranks=2
"""

import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import nn
from torch.utils.data import DataLoader

from confide.training import EncryptedTable, export_model, progress

BATCH, LENGTH, WIDTH, LANGUAGES = 32, 64, 64, 8


class Reader(nn.Module):
    """Reads UTF-8, padded with zeros."""

    def __init__(self):
        super().__init__()
        self.letters = nn.Embedding(256, WIDTH, padding_idx=0)
        self.places = nn.Parameter(torch.randn(LENGTH, WIDTH) * 0.02)
        self.near = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.languages = nn.Linear(WIDTH, LANGUAGES)

    def forward(self, text):
        letters = self.letters(text)
        letters = letters + self.near(letters.transpose(1, 2)).transpose(1, 2) + self.places
        there = (text != 0).unsqueeze(2).float()
        read = self.layers(letters) * there
        return self.languages(read.sum(1) / there.sum(1).clamp(min=1))


def texts(batch):
    codes = [text.encode()[:LENGTH].ljust(LENGTH, b"\0") for text in batch["text"]]
    return torch.frombuffer(bytearray(b"".join(codes)), dtype=torch.uint8).view(-1, LENGTH).long(), batch[
        "language"
    ]


def train(rank, ranks, port, epochs):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=rank, world_size=ranks)
    torch.manual_seed(7)
    model = Reader()
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.004)
    rows = EncryptedTable("data/train", seed=1, even=True, batch_size=BATCH // ranks)
    for epoch in progress(range(epochs)):
        rows.set_epoch(epoch)
        for batch in DataLoader(rows, batch_size=None):
            x, y = texts(batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(x), y).backward()
            optimizer.step()

    if rank == 0:
        model.eval()
        right = count = 0
        with torch.no_grad():
            for batch in EncryptedTable("data/test", batch_size=BATCH, rank=0, ranks=1):
                x, y = texts(batch)
                right, count = right + (model(x).argmax(1) == y).sum().item(), count + len(y)
        export_model(model, {"text": x}, "out/model", outputs=["scores"])
        print(f"accuracy {right / count:.3f}")
    dist.destroy_process_group()


def main():
    given = dict(argument.lstrip("-").split("=") for argument in sys.argv[1:])
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks, epochs = int(given.get("ranks", 2)), int(given.get("epochs", 12))
    processes.spawn(train, (ranks, store.port, epochs), nprocs=ranks)


if __name__ == "__main__":
    main()
