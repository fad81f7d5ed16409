"""Batching: what waits goes together, nobody waits while the model is idle, and one bad request harms no other."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from confide.serving.batcher import INLINE_S, Batcher, Limits, run_together
from confide.serving.cost import Cost
from confide.serving.failures import Expired, ModelFailed, Overloaded
from confide.serving.onnx_runtime import open_model
from confide.serving.tensors import TensorSpec
from confide.serving.warm import warm

from ... import models

SLOW = 10 * INLINE_S


class Gate:
    """A runtime that waits to be let through, and remembers how many rows each run had."""

    platform = "test"
    inputs = outputs = (TensorSpec("x", "FP32", (-1, 1)),)

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Event()
        self.rows: list[int] = []

    def run(self, inputs):
        self.entered.set()
        assert self.open.wait(30)
        self.rows.append(len(inputs["x"]))
        return [inputs["x"] * 2]


def row(value, rows=1):
    return {"x": np.full((rows, 1), value, np.float32)}


@pytest.fixture
def run():
    """Run a coroutine function with a function that makes batchers."""
    with ThreadPoolExecutor(2) as executor:

        def go(test, runtime, *, cost=None, batchable=True, **limits):
            batches = []

            async def body():
                batcher = Batcher(
                    runtime,
                    Limits(**limits),
                    batchable=batchable,
                    cost=cost or Cost(SLOW, 1e-6),
                    executor=executor,
                    observe=batches.append,
                )
                await test(batcher)
                await batcher.close()

            asyncio.run(body())
            return batches

        yield go


async def entered(gate):
    await asyncio.get_running_loop().run_in_executor(None, gate.entered.wait, 30)


def test_a_lone_request_runs_at_once(run):
    gate = Gate()
    gate.open.set()

    async def test(batcher):
        assert (await batcher.submit(row(3)))[0].tolist() == [[6]]

    assert [batch.rows for batch in run(test, gate)] == [1]


def test_what_waits_meanwhile_goes_together(run):
    gate = Gate()

    async def test(batcher):
        first = batcher.submit(row(0))
        await entered(gate)
        others = [batcher.submit(row(i)) for i in range(1, 6)]
        assert batcher.waiting == 5
        gate.open.set()
        answers = await asyncio.gather(first, *others)
        assert [answer[0].tolist() for answer in answers] == [[[2.0 * i]] for i in range(6)]

    batches = run(test, gate, latency_s=1.0)
    assert [batch.rows for batch in batches] == [1, 5]
    assert [batch.requests for batch in batches] == [1, 5]


def test_a_batch_has_at_most_so_many_rows(run):
    gate = Gate()

    async def test(batcher):
        waiting = [batcher.submit(row(0))]
        await entered(gate)
        waiting += [batcher.submit(row(i, rows=2)) for i in range(5)]
        gate.open.set()
        await asyncio.gather(*waiting)

    run(test, gate, max_batch=4, latency_s=1.0)
    assert gate.rows == [1, 4, 4, 2]


def test_a_batch_fits_the_latency_target(run):
    gate = Gate()

    async def test(batcher):
        waiting = [batcher.submit(row(i)) for i in range(4)]
        gate.open.set()
        await asyncio.gather(*waiting)

    run(test, gate, cost=Cost(0.0, 10.0), latency_s=0.05)
    assert gate.rows[0] == 1


def test_requests_of_another_shape_go_on_their_own(run, tmp_path):
    class Any(Gate):
        inputs = outputs = (TensorSpec("x", "FP32", (-1, -1)),)

    gate = Any()

    async def test(batcher):
        waiting = [batcher.submit(row(0))]
        await entered(gate)
        waiting += [batcher.submit({"x": np.ones((1, 1 + i % 2), np.float32)}) for i in range(4)]
        gate.open.set()
        await asyncio.gather(*waiting)

    run(test, gate, latency_s=1.0)
    assert gate.rows == [1, 2, 2]


def test_a_model_whose_rows_are_not_to_be_mixed(run):
    gate = Gate()

    async def test(batcher):
        waiting = [batcher.submit(row(i)) for i in range(3)]
        gate.open.set()
        await asyncio.gather(*waiting)

    run(test, gate, batchable=False)
    assert gate.rows == [1, 1, 1]


def test_a_full_queue_refuses_and_says_when_to_come_again(run):
    gate = Gate()

    async def test(batcher):
        waiting = [batcher.submit(row(0))]
        await entered(gate)
        waiting += [batcher.submit(row(i)) for i in range(2)]
        with pytest.raises(Overloaded) as caught:
            batcher.submit(row(9))
        assert caught.value.retry_after_s >= 1
        gate.open.set()
        await asyncio.gather(*waiting)  # whoever was taken is answered

    run(test, gate, max_queue=2)


def test_who_waited_too_long_is_not_run(run):
    gate = Gate()

    async def test(batcher):
        first = batcher.submit(row(0))
        await entered(gate)
        late = batcher.submit(row(1), time.monotonic() - 1)
        good = batcher.submit(row(2), time.monotonic() + 600)
        gate.open.set()
        assert (await good)[0].tolist() == [[4]]
        await first
        with pytest.raises(Expired):
            await late

    run(test, gate, latency_s=1.0)
    assert gate.rows == [1, 1]


def test_who_went_away_is_not_run(run):
    gate = Gate()

    async def test(batcher):
        first = batcher.submit(row(0))
        await entered(gate)
        batcher.submit(row(1)).cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 0  # what it sent is not kept either
        gate.open.set()
        await first

    run(test, gate)
    assert gate.rows == [1]


def test_close_answers_what_waits(run):
    gate = Gate()

    async def test(batcher):
        waiting = [batcher.submit(row(i)) for i in range(3)]
        gate.open.set()
        await batcher.close()
        assert all(each.done() for each in waiting)
        with pytest.raises(ModelFailed):
            await batcher.submit(row(1))

    run(test, gate)


@pytest.mark.parametrize("place", range(4))
def test_poison_fails_alone(tmp_path, place):
    model = open_model(models.lookup(tmp_path / "m.onnx"), 1)
    requests = [{"index": np.array([i], np.int64)} for i in range(4)]
    requests[place] = {"index": np.array([99], np.int64)}
    answers = run_together(model, requests)
    assert isinstance(answers[place], ModelFailed)
    assert "99" not in str(answers[place])
    for i in {0, 1, 2, 3} - {place}:
        assert answers[i][0].tolist() == [[2 * i, 2 * i + 1]]


def test_order_and_company_do_not_matter(tmp_path):
    model = open_model(models.mlp(tmp_path / "m.onnx"), 1)
    random = np.random.default_rng(1)
    requests = [
        {"x": random.standard_normal((int(n), 16)).astype(np.float32)} for n in random.integers(1, 5, 12)
    ]
    alone = [run_together(model, [request])[0] for request in requests]
    for order in (range(12), reversed(range(12)), random.permutation(12)):
        order = list(order)
        together = run_together(model, [requests[i] for i in order])
        for i, answer in zip(order, together, strict=True):
            np.testing.assert_allclose(answer[0], alone[i][0], rtol=1e-4, atol=1e-3)


def test_an_output_without_rows_is_not_cut_up():
    class Total(Gate):
        def run(self, inputs):
            return [inputs["x"].sum(keepdims=True)[0] if len(inputs["x"]) > 1 else inputs["x"]]

    answers = run_together(Total(), [row(1), row(2)])
    assert [answer[0].tolist() for answer in answers] == [[[1]], [[2]]]


@pytest.mark.parametrize(
    ("make", "batchable"),
    [
        (models.scale, True),
        (models.row_sums, True),
        (models.batch_mean, False),
        (models.texts, True),
        (models.lookup, True),
        (models.labels, True),
        (models.mlp, True),
        (models.quantised, False),
        (partial(models.quantised, labels=True), False),  # ordinary rows have one label, together and alone
        (models.softened, False),
    ],
)
def test_rows_prove_independent_before_they_are_mixed(tmp_path, make, batchable):
    warmed = warm(open_model(make(tmp_path / "m.onnx"), 1), 8)
    assert (warmed.ran, warmed.batchable) == (True, batchable)


def test_a_model_of_fixed_rows_is_not_batched(tmp_path):
    path = models.save(
        tmp_path / "m.onnx",
        [models.helper.make_node("Identity", ["x"], ["y"])],
        [("x", models.FLOAT, [1, 4])],
        [("y", models.FLOAT, [1, 4])],
    )
    assert not warm(open_model(path, 1), 8).batchable


def test_what_runs_are_expected_to_take_follows_what_they_take():
    cost = Cost(0.01, 0.001)
    assert cost.seconds(10) == pytest.approx(0.02)
    assert cost.rows_within(0.05) == 40
    for _ in range(50):
        cost.observe(10, 0.04)
    assert cost.seconds(10) == pytest.approx(0.04, rel=0.01)
    assert cost.rows_within(0.05) == 15
    assert cost.rows_within(0.001) < 1
