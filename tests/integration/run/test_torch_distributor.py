"""PySpark's own `TorchDistributor`: ranks in the driver's enclave, and in executors that were attested one by one."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.enclave.image import Limits
from confide.errors import ConfideError

from ..canary.watch import Hits, Needles, Traffic
from .training_tables import patients

pytestmark = [
    pytest.mark.torch,
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here"),
]
EXAMPLE = Path(__file__).parents[3] / "examples/12_torch_on_spark.py"
PLAIN_SPARK = {
    **os.environ,
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_SUBMIT_ARGS": "--master local[2] pyspark-shell",
}
TRAIN = """
def train(backend, ranks):
    import torch
    import torch.distributed as dist
    from torch import nn

    torch.set_num_threads(1)
    dist.init_process_group(backend)
    rank = dist.get_rank()
    print(f"NEEDLE-4711 printed by rank {rank}", flush=True)
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    initial = bytes(model[0].weight.detach().numpy().tobytes()[:64]).hex()
    x = torch.randn(64, 8, dtype=torch.float64)
    y = x.sum(1, keepdim=True)
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(parallel.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(parallel(x[rank::ranks]), y[rank::ranks]).backward()
        optimizer.step()
    counted = torch.ones(1000)
    dist.all_reduce(counted)
    name = dist.get_backend()
    dist.destroy_process_group()
    return name, counted[0].item(), initial, nn.utils.parameters_to_vector(model.parameters()).tolist()
"""
ALONE = f"""
import json, os
{TRAIN}
os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
print("TRAINED", json.dumps(train("gloo", 1)))
"""
PLAIN, REFUSED = ("gloo",), (None, "gloo", "nccl")
PROGRAM = f"""
import json
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession
{TRAIN}
def main(local_modes, backends):
    spark = SparkSession.builder.getOrCreate()
    for local_mode in local_modes:
        ranks = TorchDistributor(num_processes=2, local_mode=local_mode, use_gpu=False)
        for backend in backends:
            try:
                print("TRAINED", json.dumps(ranks.run(train, backend, 2)), flush=True)
            except Exception:
                print("FAILED", local_mode, backend, flush=True)
"""


@pytest.fixture(scope="module")
def spark_with_torch(small_spark):
    return dataclasses.replace(small_spark, limits=Limits(memory_mib=3072, scratch_mib=64, cores=2))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one plain process has at first, and what it trains."""
    program = tmp_path_factory.mktemp("alone") / "train.py"
    program.write_text(ALONE)
    done = subprocess.run([sys.executable, str(program)], check=True, capture_output=True, text=True)
    ((backend, counted, initial, parameters),) = trained(done.stdout)
    assert (backend, counted) == ("gloo", 1)
    return initial, parameters


def trained(said: str) -> list[list]:
    return [json.loads(line) for line in re.findall(r"^TRAINED (.*)$", said, re.M)]


def check(said: str, alone: tuple[str, list[float]], backend: str, count: int) -> None:
    """All runs that ended well had two ranks, and the parameters of the plain process."""
    found = trained(said)
    assert [(name, counted) for name, counted, *_ in found] == [(backend, 2)] * count, said
    for *_, parameters in found:
        assert parameters == pytest.approx(alone[1], rel=1e-9)


@contextlib.contextmanager
def traffic(alone):
    """Yield what is found of what ranks print and know in packets, afterwards."""
    needles = Needles({"PRINTED": b"NEEDLE-4711 printed by", "PARAMETERS": bytes.fromhex(alone[0])})
    hits = Hits()
    watch = Traffic(needles, hits)
    watch.start()
    found: dict[str, int] = {}
    try:
        yield found
    finally:
        watch.stop()
        found |= hits.at("traffic")


@pytest.fixture
def start(new_site, new_owner, spark_with_torch):
    """Build images of the program, allow them, and run them; returns what driver and executors printed."""

    def run(call: str, *, executors: bool) -> tuple[str, list[str]]:
        site, program = new_site(), f"{PROGRAM}\n{call}\n"
        owner = new_owner("clinic", site.broker("local"), site.root)
        image = site.build(program, spark_with_torch)
        executor = site.build_executor(program, spark_with_torch) if executors else None
        owner.allow(image, ("out/unused", "write"), logs="clinic/data", executor=executor)
        code = site.run_job() if executors else site.run()
        logs = site.logs(owner)
        assert code == 0, "\n".join(logs)
        (driver,) = [log for log in logs if "TRAINED" in log]
        return driver, [log for log in logs if log is not driver]

    return run


@pytest.mark.canary
@pytest.mark.skipif(os.geteuid() != 0, reason="packet capture needs root")
def test_plain_ranks_show_what_they_print_and_know(tmp_path, alone):
    """The control."""
    (tmp_path / "job.py").write_text(f"{PROGRAM}\nmain([False], {PLAIN})\n")
    plain = [sys.executable, str(tmp_path / "job.py")]
    with traffic(alone) as found:
        done = subprocess.run(plain, check=True, capture_output=True, text=True, env=PLAIN_SPARK)
    check(done.stdout, alone, "gloo", 1)
    assert found.keys() == {"PRINTED", "PARAMETERS"}


def test_in_the_drivers_enclave_and_in_local_tasks(start, alone):
    said, _ = start(f"main([True], {REFUSED}); main([False], [None])", executors=False)
    check(said, alone, "confide", 2)
    for backend in ("gloo", "nccl"):
        assert f"FAILED True {backend}" in said
        assert f"LaunchRefused: torch.distributed backend {backend}: it sends tensors in clear" in said


@pytest.mark.canary
@pytest.mark.skipif(os.geteuid() != 0, reason="packet capture needs root")
def test_in_executors(start, alone):
    with traffic(alone) as found:
        said, executors = start("main([False], [None, 'gloo']); main([True], [None])", executors=True)
    assert found == {}
    check(said, alone, "confide", 2)
    assert "FAILED False gloo" in said
    assert len(executors) == 2
    for log in executors:  # each had a rank, whose output is sealed here and went nowhere else
        assert len(set(re.findall("NEEDLE-4711 printed by rank .", log))) == 1
        assert "LaunchRefused: torch.distributed backend gloo: it sends tensors in clear" in log


@pytest.fixture(scope="module")
def example_alone(tmp_path_factory):
    """The example's table, and the accuracy that one plain rank reaches on it."""
    folder = tmp_path_factory.mktemp("example")
    table = pa.concat_tables(patients().values()).sort_by("patient_id")
    (folder / "data/patients").mkdir(parents=True)
    pq.write_table(table, folder / "data/patients/part.parquet")
    plain = subprocess.run(
        [sys.executable, str(EXAMPLE), "--ranks=1"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env=PLAIN_SPARK,
    )
    assert "from round 0" in plain.stdout
    accuracy = float(plain.stdout.split()[-1])
    assert accuracy > 0.95
    return table, accuracy


@pytest.fixture
def example(new_site, new_owner, spark_with_torch, example_alone):
    """The example on an encrypted table, with executors, allowed."""
    source = EXAMPLE.read_text()
    assert "import confide" not in source
    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(example_alone[0], site.data, "data/patients")
    driver, executor = site.build(source, spark_with_torch), site.build_executor(source, spark_with_torch)
    written = [(f"out/{name}", "write") for name in ("scores", "checkpoint")]
    owner.allow(driver, ("data/patients", "read"), *written, logs="clinic/data", executor=executor)
    return site, owner


def reached(site, owner, accuracy: float) -> str:
    """Check what the newest run came to, and return what its driver printed."""
    (said,) = [log for log in site.logs(owner) if "\naccuracy " in log]
    assert float(re.search("^accuracy (.*)$", said, re.M)[1]) == pytest.approx(accuracy, abs=0.01)
    assert owner.read(site.data, "out/scores").num_rows == 142
    assert owner.read(site.data, "out/checkpoint")["rounds"].to_pylist() == [4]
    return said


def test_the_example_reaches_what_it_reaches_in_clear(example, example_alone):
    site, owner = example
    assert site.run_job("--ranks=2") == 0, "\n".join(site.logs(owner))
    assert "from round 0" in reached(site, owner, example_alone[1])


@pytest.mark.parametrize(
    "words",
    [("confide.spark.ExecutorProcess", "--executor-id\0001"), ("confide.spark.Gateway",)],
    ids=["executor", "driver"],
)
def test_it_goes_on_after_the_death_of_one(example, example_alone, words):
    """Spark does not repeat the work of ranks: the run ends, and the next one goes on."""
    site, owner = example

    def rounds() -> int:
        stored = owner.store.listing_at("clinic", "out/checkpoint")
        return stored.listing.serial if stored else 0

    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(site.run_job, "--ranks=2")
        while rounds() == 0 or not site.processes_below(b"torch.distributed.run"):
            assert not run.done(), "\n".join(site.logs(owner))
            time.sleep(0.05)
        for pid in site.processes_below(words[0].encode()):
            given = Path(f"/proc/{pid}/cmdline").read_text()
            if all(f"\0{part}\0" in given for part in words):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ConfideError):
            assert run.result(300) != 0
    assert site.gone()
    done = rounds()
    assert 0 < done < 4
    assert site.run_job("--ranks=2") == 0, "\n".join(site.logs(owner))
    assert f"from round {done}\n" in reached(site, owner, example_alone[1])
