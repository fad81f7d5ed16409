"""One rank of a test: `python ranks.py SCENARIO RANK RANKS STORE_PORT [ATTACK]`, its job key in hex on standard input.

With an attack, the others reach it through proxy.py alone.

It prints what the scenario returns as JSON, and ends as a program does that knows nothing of `confide`.
"""

from __future__ import annotations

import atexit
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from confide.training.backend import register
from confide.training.rendezvous import AuthenticatedStore

TIMEOUT = datetime.timedelta(seconds=60)
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def main() -> None:
    name, rank, ranks, port = sys.argv[1], *map(int, sys.argv[2:5])
    torch.set_num_threads(1)
    register(bytes.fromhex(sys.stdin.readline()))
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=TIMEOUT)
    if sys.argv[5:]:
        _detour(sys.argv[5], "from" if rank == 0 else "to")
    dist.init_process_group("confide", store=store, rank=rank, world_size=ranks, timeout=TIMEOUT)
    print(json.dumps(SCENARIOS[name]()), flush=True)
    dist.destroy_process_group()


def _detour(attack: str, way: str) -> None:
    """Tell others the proxy's address in place of this rank's own: a network that leads through it."""
    true_set, proxies = AuthenticatedStore.set, {}

    def proxy(found: re.Match[bytes]) -> bytes:
        port = int.from_bytes(found[1], "big")
        if port not in proxies:
            command = [sys.executable, str(Path(__file__).with_name("proxy.py")), str(port), attack, way]
            process = subprocess.Popen(command, stdout=subprocess.PIPE)
            atexit.register(process.kill)
            proxies[port] = int(process.stdout.readline())
        return found[0][:2] + proxies[port].to_bytes(2, "big") + found[0][4:]

    def changed_set(self, key, value):
        true_set(self, key, re.sub(rb"\x02\x00(..)\x7f\x00\x00\x01", proxy, bytes(value), flags=re.DOTALL))

    AuthenticatedStore.set = changed_set


def _values(size: int, dtype=torch.float32) -> torch.Tensor:
    """Return values of this rank, whole numbers, so that the order of sums changes nothing."""
    generator = torch.Generator().manual_seed(1000 + dist.get_rank())
    return torch.randint(-4, 5, (size,), generator=generator).to(dtype)


@scenario
def collectives():
    """Every collective, against plain gloo: the same results for types and sizes of every kind."""
    gloo = dist.new_group(backend="gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    compared = 0

    def same(action) -> None:
        nonlocal compared
        results = [action(group) for group in (gloo, None)]
        assert len(results[0]) == len(results[1])
        for expected, got in zip(*results, strict=True):
            assert expected.dtype == got.dtype
            assert torch.equal(expected, got)
        compared += 1

    ops = dist.ReduceOp
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8):
        for op in (ops.SUM, ops.PRODUCT, ops.MIN, ops.MAX):

            def all_reduce(group, op=op, dtype=dtype):
                tensor = _values(7, dtype).clamp(0, 2)
                dist.all_reduce(tensor, op, group=group)
                return [tensor]

            same(all_reduce)
    for size in (0, 1, ranks - 1, 65_536 * ranks, 65_536 * ranks + 1, 1_000_003):

        def sized(group, size=size):
            tensor = _values(size)
            work = dist.all_reduce(tensor, group=group, async_op=True)
            work.wait()
            other = _values(size)
            dist.broadcast(other, ranks - 1, group=group)
            third = _values(size)
            dist.reduce(third, 0, group=group)
            return [tensor, other, *([third] if rank == 0 else [])]

        same(sized)

    def gathered(group):
        to = [torch.empty(300_000) for _ in range(ranks)]
        dist.all_gather(to, _values(300_000), group=group)
        single = torch.empty(ranks * 5)
        dist.all_gather_into_tensor(single, _values(5), group=group)
        rooted = [torch.empty(3) for _ in range(ranks)] if rank == 1 else None
        dist.gather(_values(3), rooted, 1, group=group)
        return [*to, single, *(rooted or [])]

    same(gathered)

    def scattered(group):
        to = torch.empty(300_000)
        dist.scatter(to, [_values(300_000) + i for i in range(ranks)] if rank == 0 else None, 0, group=group)
        reduced = torch.empty(4)
        dist.reduce_scatter(reduced, list(_values(4 * ranks).view(ranks, 4).unbind()), group=group)
        single = torch.empty(100_000)
        dist.reduce_scatter_tensor(single, _values(100_000 * ranks), group=group)
        return [to, reduced, single]

    same(scattered)

    def exchanged(group):
        to = torch.empty(ranks * 3)
        dist.all_to_all_single(to, _values(ranks * 3), group=group)
        uneven = torch.empty(ranks * (rank + 1))
        dist.all_to_all_single(
            uneven,
            _values(sum(range(1, ranks + 1))),
            [rank + 1] * ranks,
            list(range(1, ranks + 1)),
            group=group,
        )
        return [to, uneven]

    same(exchanged)

    def strided(group):
        tensor = _values(600).view(20, 30)[:, ::2]
        if group is not None:  # gloo takes it for contiguous
            tensor = tensor.contiguous()
        dist.all_reduce(tensor, group=group)
        leaf = nn.Parameter(_values(8))
        dist.broadcast(leaf, 0, group=group)
        return [tensor, leaf.detach()]

    same(strided)
    average = torch.full((3,), float(rank))
    dist.all_reduce(average, ops.AVG)
    assert torch.equal(average, torch.full((3,), sum(range(ranks)) / ranks))
    whole = torch.tensor([rank, -rank, 7])
    dist.all_reduce(whole, ops.AVG)
    total = sum(range(ranks))
    assert whole.tolist() == [total // ranks, -(total // ranks), 7]
    dist.barrier()
    return compared


@scenario
def objects():
    """Collectives of Python objects, which torch makes of tensors."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    sent = [{"rank": 0, "text": "x" * 1000}] if rank == 0 else [None]
    dist.broadcast_object_list(sent, 0)
    everyone = [None] * ranks
    dist.all_gather_object(everyone, {"rank": rank})
    own = [None]
    dist.scatter_object_list(own, [f"for {i}" for i in range(ranks)] if rank == 0 else None, 0)
    gathered = [None] * ranks if rank == 0 else None
    dist.gather_object(rank, gathered, 0)
    return [sent[0]["rank"], [item["rank"] for item in everyone], own[0], gathered]


@scenario
def messages():
    """Messages between two ranks: both ways at once, in order under each tag, from anybody."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    following, before = (rank + 1) % ranks, (rank - 1) % ranks
    got = []
    for tag in (0, 7):
        to = [torch.empty(300_000) for _ in range(3)]
        sends = [
            dist.isend(torch.full((300_000,), float(10 * rank + i)), following, tag=tag) for i in range(3)
        ]
        receives = [dist.irecv(tensor, before, tag=tag) for tensor in to]
        for work in [*receives, *sends]:
            work.wait()
        got.append([tensor[-1].item() - 10 * before for tensor in to])
    batch = torch.empty(3)
    works = dist.batch_isend_irecv(
        [
            dist.P2POp(dist.isend, torch.full((3,), float(rank)), following),
            dist.P2POp(dist.irecv, batch, before),
        ]
    )
    for work in works:
        work.wait()
    anybody = torch.empty(2)
    if rank == 0:
        sources = sorted(dist.recv(anybody) for _ in range(ranks - 1))
    else:
        dist.send(torch.ones(2), 0)
        sources = list(range(1, ranks))
    return [got, batch[0].item() == before, sources]


@scenario
def groups():
    """Groups within the job, each with keys of its own."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    pairs = [dist.new_group([0, ranks - 1]), dist.new_group([0])]
    tensor = torch.full((3,), float(rank))
    if rank in (0, ranks - 1):
        dist.all_reduce(tensor, group=pairs[0])
    if rank == 0:
        dist.all_reduce(tensor, group=pairs[1])
    dist.all_reduce(tensor)
    assert dist.get_backend() == "confide"
    return tensor.tolist()


def _model() -> nn.Module:
    torch.manual_seed(3 + dist.get_rank())  # DDP and FSDP take over those of rank 0
    return nn.Sequential(
        nn.Linear(64, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 700), nn.Linear(700, 4)
    )


def _train(model: nn.Module) -> list[float]:
    generator = torch.Generator().manual_seed(dist.get_rank())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        x = torch.randn(16, 64, generator=generator)
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@scenario
def ddp():
    """DistributedDataParallel: with two ranks the very numbers of plain gloo."""
    results = []
    for group in (dist.new_group(backend="gloo"), None):
        model = nn.parallel.DistributedDataParallel(_model(), process_group=group, bucket_cap_mb=1)
        losses = _train(model)
        results.append([losses, [p.sum().item() for p in model.parameters()]])
    return results


@scenario
def fsdp():
    """Fully sharded, by the newer and the older interface."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    results = []
    for group in (dist.new_group(backend="gloo"), dist.group.WORLD):
        model = _model()
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, 0)
        fully_shard(model, mesh=DeviceMesh.from_group(group, "cpu"))
        results.append(_train(model))
        model = _model()
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, 0)
        older = FullyShardedDataParallel(model, process_group=group, device_id=torch.device("cpu"))
        results.append(_train(older))
    return results


@scenario
def mixed_precision():
    """DDP under autocast, its gradients sent in half precision; and FSDP by a policy."""
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
    results = []
    for group in (dist.new_group(backend="gloo"), dist.group.WORLD):
        model = nn.parallel.DistributedDataParallel(_model(), process_group=group, bucket_cap_mb=1)
        model.register_comm_hook(group, fp16_compress_hook)
        with torch.autocast("cpu", torch.bfloat16):
            results.append(_train(model))
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 4))
        fully_shard(model, mesh=DeviceMesh.from_group(group, "cpu"), mp_policy=policy)
        results.append(_train(model))
    return results


@scenario
def reduce_much():
    """A tensor of many chunks, for those who stand between."""
    tensor = torch.ones(4_000_000)
    for _ in range(3):
        dist.all_reduce(tensor)
    return tensor[0].item()


@scenario
def bring_nan():
    """One rank brings a NaN; what it is called and the sum go on as ever."""
    tensor = torch.ones(300_000)
    if dist.get_rank() == 1:
        tensor[::7] = float("nan")
    dist.all_reduce(tensor)
    infinite = torch.full((4,), float("inf") * (1 - 2 * dist.get_rank()))
    dist.all_reduce(infinite)
    return int(tensor.isnan().sum())


@scenario
def differ():
    """Ranks that do not do the same."""
    tensor = torch.ones(4)
    if dist.get_rank() == 0:
        dist.all_reduce(tensor)
    else:
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()


@scenario
def die():
    """A rank ends in the middle."""
    dist.barrier()
    if dist.get_rank() == 1:
        sys.exit(7)
    dist.all_reduce(torch.ones(1_000_000))


@scenario
def misuse():
    """What the backend does not do, it says."""
    said = []
    for call in (
        lambda: dist.all_reduce(torch.ones(2, dtype=torch.bool), dist.ReduceOp.AVG),
        lambda: dist.all_reduce(torch.full((1,), 100, dtype=torch.int8), dist.ReduceOp.AVG),
        lambda: dist.all_reduce(torch.eye(2).to_sparse()),
    ):
        try:
            call()
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return said


if __name__ == "__main__":
    main()
