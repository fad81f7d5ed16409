"""What an image's PyTorch allows: no backend that sends in clear, whichever way it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.torch

PROGRAM = """
import json, sys, tempfile
import torch.distributed as dist
from confide.training.backend import allow_no_other, register
{register}
allow_no_other()
store = dist.HashStore()
said = []
for backend in ("gloo", "nccl", "mpi", "ucc", "cpu:gloo", "cpu:confide,cuda:nccl", "fake", None):
    try:
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
        said.append(dist.get_backend())
        try:
            dist.new_group(backend="gloo")
        except Exception as error:
            said.append(type(error).__name__ + ": " + str(error))
        dist.destroy_process_group()
    except Exception as error:
        said.append(type(error).__name__ + ": " + str(error))
print(json.dumps(said))
"""


def _said(register: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(register=register)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_others_are_refused_by_name():
    *refused, default, group = _said("register(bytes(32))")
    for said, name in zip(refused, ("gloo", "nccl", "mpi", "ucc", "gloo", "nccl", "fake"), strict=True):
        assert said.startswith(
            f"LaunchRefused: torch.distributed backend {name}: it sends tensors in clear. "
        )
    assert default == "confide"
    assert group.startswith("LaunchRefused: torch.distributed backend gloo: ")


def test_without_a_key_there_is_no_backend_at_all():
    said = _said("")
    assert all("LaunchRefused: torch.distributed backend " in one for one in said)
    assert said[-1].endswith("Ranks get one in programs of the profiles python and spark")


ELSEWHERE = """
import datetime, tempfile
import torch
import torch.distributed as dist
from torch.distributed import _dist2, rpc
from confide.training.backend import allow_no_other
allow_no_other()
for act in (
    lambda: rpc.init_rpc("a", rank=0, world_size=1, rpc_backend_options=rpc.TensorPipeRpcBackendOptions(
        init_method="file://" + tempfile.mktemp())),
    lambda: _dist2.new_group("gloo", datetime.timedelta(seconds=5), torch.device("cpu")),
):
    try:
        act()
        print("TAKEN")
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_no_other_way_leads_out():
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    remote, group = done.stdout.splitlines()
    assert remote.startswith("LaunchRefused torch.distributed.rpc: ")
    assert group == "ValueError Backend gloo not registered"


def test_the_key_is_not_shown():
    program = (
        "import torch.distributed as d; from confide.training.backend import register; register(b'K' * 32)"
    )
    command = [sys.executable, "-c", f"{program}; print(d.Backend._plugins)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "CONFIDE" in said
    assert "KKKK" not in said
