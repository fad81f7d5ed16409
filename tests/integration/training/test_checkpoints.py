"""Checkpoints outside of an image: whole or not at all, the last few, never an unknown pickle."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys

import pytest

from confide.errors import InvalidFormat, Misuse

torch = pytest.importorskip("torch")
from confide.training import Checkpoints  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _training():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    return model, optimizer, schedule


def _step(model, optimizer, schedule):
    optimizer.zero_grad()
    model(torch.ones(5, 4) * torch.arange(5).unsqueeze(1)).square().sum().backward()
    optimizer.step()
    schedule.step()


def test_a_training_goes_on_as_if_it_had_not_ended(tmp_path):
    one = _training()
    for _ in range(3):
        _step(*one)
    names = ("model", "optimizer", "schedule")
    Checkpoints(tmp_path).save({name: part.state_dict() for name, part in zip(names, one, strict=True)})
    other = _training()
    state = Checkpoints(tmp_path).load()
    for name, part in zip(names, other, strict=True):
        part.load_state_dict(state[name])
    for _ in range(3):
        _step(*one)
        _step(*other)
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))


def test_the_last_ones_are_kept_and_the_newest_is_loaded(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.load() is None
    for epoch in range(5):
        checkpoints.save({"epoch": epoch})
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-00000004.pt", "checkpoint-00000005.pt"]
    assert Checkpoints(tmp_path).load() == {"epoch": 4}


def test_an_unreadable_one_is_passed_over_with_a_warning(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"epoch": 0})
    newest = checkpoints.save({"epoch": 1})
    newest.write_bytes(newest.read_bytes()[:100])
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert checkpoints.load() == {"epoch": 0}
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.warns(RuntimeWarning), pytest.raises(InvalidFormat):
        checkpoints.load()


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_of_others_is_not_executed(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint-00000001.pt"
    if how == "torch":
        torch.save({"epoch": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps({"epoch": Evil()}))
    with pytest.warns(RuntimeWarning), pytest.raises(InvalidFormat):
        Checkpoints(tmp_path).load()
    assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False) if how == "torch" else pickle.loads(path.read_bytes())
    assert (tmp_path / "executed").exists(), "the control executes it"


@pytest.mark.parametrize("value", [Evil(), {1, 2}, object, lambda: 1, torch.nn.Linear(1, 1)])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, value):
    with pytest.raises(Misuse, match=r"state\['deep'\]\[1\]"):
        Checkpoints(tmp_path).save({"deep": [0, value]})
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
import torch
from confide.training import Checkpoints

os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # the new one is written, and has no name yet
Checkpoints(sys.argv[1]).save({"epoch": 1, "weights": torch.ones(1_000_000)})
"""


def test_a_kill_leaves_the_last_one_whole(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"epoch": 0})
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2
    assert checkpoints.load() == {"epoch": 0}
    checkpoints.save({"epoch": 1})
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-00000001.pt", "checkpoint-00000002.pt"]


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(Misuse):
        Checkpoints(tmp_path, keep=0)
