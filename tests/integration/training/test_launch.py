"""torchrun's agents unpickle what they find at their store: only what holders of the job's key put there."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

AGENT = """
import sys
from torch.distributed.elastic.rendezvous import RendezvousParameters, rendezvous_handler_registry
{guard}
handler = rendezvous_handler_registry.create_handler(
    RendezvousParameters("c10d", "127.0.0.1:" + sys.argv[1], "run-1", 1, 1, local_addr="127.0.0.1",
                         is_host=False, join_timeout=30, last_call_timeout=1)
)
print("READY", flush=True)
sys.stdin.readline()
print("RANK", handler.next_rendezvous().rank, flush=True)
handler.shutdown()
"""
GUARD = "from confide.training.launch import authenticate; authenticate({key})"
KEY, OTHER = bytes(32), bytes([1]) * 32


class Evil:
    def __reduce__(self):
        return (print, ("EXECUTED",))


@pytest.fixture
def store():
    distributed = torch.distributed
    return distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _agent(store, guard: str, put: bytes | None = None) -> subprocess.CompletedProcess[str]:
    """Run an agent to its end; before it looks for the others' state, a stranger puts one there."""
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT.format(guard=guard), str(store.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    timer = threading.Timer(180, process.kill)
    timer.start()
    said = ""
    for line in process.stdout:
        said += line
        if line == "READY\n":
            break
    if put is not None and process.poll() is None:
        store.set("torch.rendezvous.run-1", base64.b64encode(put).decode())
    rest, _ = process.communicate("\n")
    timer.cancel()
    return subprocess.CompletedProcess([], process.returncode, said + rest)


def test_a_plain_agent_executes_what_a_stranger_put_there(store):
    """The control."""
    assert "EXECUTED" in _agent(store, "", pickle.dumps(Evil())).stdout


@pytest.mark.parametrize("tag", [b"", bytes(32)], ids=["without a tag", "with a wrong one"])
def test_a_strangers_state_is_refused_before_it_is_unpickled(store, tag):
    ended = _agent(store, GUARD.format(key=KEY), tag + pickle.dumps(Evil()))
    assert ended.returncode != 0
    assert "EXECUTED" not in ended.stdout
    assert "Tampered: torchrun, rendezvous: " in ended.stdout


def test_holders_of_the_key_meet(store):
    assert "RANK 0" in _agent(store, GUARD.format(key=KEY)).stdout


def test_a_state_of_another_job_is_refused(store):
    assert "RANK 0" in _agent(store, GUARD.format(key=OTHER)).stdout
    ended = _agent(store, GUARD.format(key=KEY))
    assert "Tampered: torchrun, rendezvous: " in ended.stdout


def test_without_a_key_no_agent_begins(store):
    ended = _agent(store, GUARD.format(key=None))
    assert "LaunchRefused: torchrun --rdzv-backend c10d: this process has no key for it" in ended.stdout


def test_ranks_of_two_runs_hold_other_keys():
    from confide.training.launch import run_key

    first, second = ({"TORCHELASTIC_RUN_ID": run} for run in ("1", "2"))
    assert len({run_key(KEY, {}), run_key(KEY, first), run_key(KEY, second), run_key(OTHER, first)}) == 4
    assert run_key(KEY, {}) == KEY
    assert run_key(KEY, first) == run_key(KEY, dict(first))
