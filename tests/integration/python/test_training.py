"""Ranks inside a measured image: sealed without a word about it in the program, and nothing in clear beside that."""

from __future__ import annotations

import importlib.util
import io

import pytest

from confide.data.sealed import SealedReader

from .conftest import Study

WITHOUT_TORCH = """
import os, socket
from pathlib import Path
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/confide/group/key.sock")
    key = connection.recv(100)
print("bytes", len(key), "of one value:", len(set(key)) == 1)
print("beside it:", sorted(path.name for path in Path("/run/confide").iterdir()))
print("in the environment:", key.hex() in str(dict(os.environ)))
"""
RANKS = """
import torch
import torch.distributed as dist
import torch.multiprocessing as processes


def rank(number, port):
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False)
    dist.init_process_group(store=store, rank=number, world_size=2)
    tensor = torch.full((100_000,), float(number + 1))
    dist.all_reduce(tensor)
    if number == 0:
        print("backend", dist.get_backend(), "sum", tensor[0].item(), flush=True)
    dist.destroy_process_group()
    try:
        dist.init_process_group("gloo", store=store, rank=number, world_size=2)
    except Exception as error:
        if number == 0:
            print(type(error).__name__, error, flush=True)


if __name__ == "__main__":
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes.spawn(rank, (store.port,), nprocs=2)
"""


STEPS = """
import time
import torch
from confide.training import progress

trained = []
for epoch in progress(range(3, 6)):
    time.sleep(1.1)  # so that each is shown
    trained.append(epoch)
print("trained", trained)
"""


def _log(study: Study) -> str:
    logs = sorted((study.data / "confide-logs").iterdir())
    with logs[-1].open("rb") as file, SealedReader(file, study.keyset("clinic/logs")) as reader:
        return io.TextIOWrapper(reader).read()


def test_a_program_gets_its_groups_key_and_reaches_nothing_else_of_the_agent(study: Study) -> None:
    study.logs = "clinic/logs"
    assert study.run(WITHOUT_TORCH) == 0, _log(study)
    said = _log(study)
    assert "bytes 32 of one value: False" in said
    assert "beside it: ['group', 'program']" in said
    assert "in the environment: False" in said


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
def test_an_unmodified_program_is_sealed_and_gloo_is_refused(study: Study) -> None:
    study.logs = "clinic/logs"
    assert study.run(RANKS) == 0, _log(study)
    said = _log(study)
    assert "backend confide sum 3.0" in said
    assert "LaunchRefused torch.distributed backend gloo: it sends tensors in clear." in said


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
def test_the_operator_sees_how_far_a_training_is(study: Study) -> None:
    study.logs = "clinic/logs"
    assert study.run(STEPS) == 0, _log(study)
    assert "trained [3, 4, 5]" in _log(study)
    shown = [status for status in study.said if status["state"] == "progress"]
    assert shown == [{"state": "progress", "done": done, "total": 3} for done in range(4)]
