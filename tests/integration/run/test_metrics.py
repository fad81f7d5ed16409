"""Metrics that a training writes for TensorBoard leave sealed, while it runs, and its owner sees them."""

from __future__ import annotations

import importlib.util

import pytest

from confide.data.folders import decrypt_files
from confide.python.image_spec import image_profile

PROGRAM = """
from torch.utils.tensorboard import SummaryWriter
from confide.enclave.program_socket import commit_output

with SummaryWriter("out/runs/first") as metrics:
    for step in range(20):
        metrics.add_scalar("loss/known-tag", 1.5 / (step + 1), step)
        if step == 9:
            metrics.flush()
            print("committed", commit_output("out/runs"))
"""
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorboard") is None or importlib.util.find_spec("torch") is None,
        reason="PyTorch and TensorBoard are not installed here",
    ),
]


def test_metrics_leave_sealed_and_the_owner_sees_them(new_site, new_owner, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    image = site.build(PROGRAM, image_profile())
    owner.allow(image, logs="clinic/data", files=("out/runs",))
    assert site.run() == 0, site.log(owner)
    assert "committed 1" in site.log(owner)
    stored = owner.store.listing_at("clinic", "out/runs").listing
    assert stored.serial == 2
    files = [path for path in (site.data / "out/runs").rglob("*") if path.is_file()]
    assert files
    assert not any(b"known-tag" in path.read_bytes() for path in files)
    decrypt_files(site.data / "out/runs", stored, owner.keyset, tmp_path / "runs")
    seen = EventAccumulator(str(tmp_path / "runs/first"))
    seen.Reload()
    found = [(event.step, event.value) for event in seen.Scalars("loss/known-tag")]
    assert found == [(step, pytest.approx(1.5 / (step + 1))) for step in range(20)]
