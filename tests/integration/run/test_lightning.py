"""A Lightning module is trained by ranks on an encrypted table, with early stopping, by its own trainer as it is."""

from __future__ import annotations

import importlib.util

import pytest

from confide.python.image_spec import image_profile

from .training_tables import digits

PROGRAM = """
# /// script
# [tool.confide]
# stream = ["data/train", "data/test"]
# ///
import pytorch_lightning as lightning
import torch
import torch.distributed as dist
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader

from confide.training import EncryptedTable


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def step(self, batch):
        scores = self.model(batch["pixels"].float() / 255)
        right = (scores.argmax(1) == batch["label"]).float().mean()
        return nn.functional.cross_entropy(scores, batch["label"].long()), right

    def training_step(self, batch, _):
        return self.step(batch)[0]

    def validation_step(self, batch, _):
        loss, right = self.step(batch)
        self.log_dict({"loss": loss, "accuracy": right}, sync_dist=True, batch_size=len(batch["label"]))

    def on_validation_end(self):
        if self.trainer.is_global_zero:
            print("backend", dist.get_backend(), "epoch", self.current_epoch, flush=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)

    def train_dataloader(self):
        return DataLoader(EncryptedTable("data/train", seed=1, even=True, batch_size=32), batch_size=None)

    def val_dataloader(self):
        return DataLoader(EncryptedTable("data/test", even=True, batch_size=64), batch_size=None)


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=2, strategy="ddp_spawn", max_epochs=40, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, use_distributed_sampler=False,
        callbacks=[EarlyStopping("loss", patience=2)],
    )
    trainer.fit(Digits())
    print("accuracy", trainer.callback_metrics["accuracy"].item())
"""
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("pytorch_lightning") is None, reason="Lightning is not installed here"
    ),
]


def test_a_lightning_module_is_trained_by_ranks_that_seal(new_site, new_owner):
    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    for name, table in digits().items():
        owner.encrypt(table, site.data, f"data/{name}")
    image = site.build(PROGRAM, image_profile())
    owner.allow(image, ("data/train", "read"), ("data/test", "read"), logs="clinic/data")
    assert site.run() == 0, site.log(owner)
    said = site.log(owner)
    assert "backend confide" in said, said
    assert max(int(rest.split()[0]) for rest in said.split("confide epoch ")[1:]) < 39, said
    assert float(said.split("accuracy ")[1].split()[0]) > 0.9, said
