"""An operator against a job: each attack gets no key, runs no task, and the driver's log names its cause.

All are made on one job, whose driver waits for its two executors meanwhile.
"""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from confide.enclave.build import Recipe, build_cached
from confide.enclave.run import start

from .attacks import (
    another_command,
    false_driver,
    other_flags,
    replayed_registration,
    stolen_secret,
    swapped_program,
    twice,
)
from .stage import Stage, found

pytestmark = [
    pytest.mark.slow,
    pytest.mark.spark,
    pytest.mark.timeout(1800),
]  # several JVMs, on a busy machine

BEFORE = (another_command, swapped_program, other_flags, false_driver, stolen_secret)
"""Made before any executor was let in."""
BESIDE_TRUE_ONES = (replayed_registration, twice)
ATTACKS = (*BEFORE, *BESIDE_TRUE_ONES)
ROWS = pa.table({"id": list(range(2000))})
PROGRAM = """
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.config("spark.scheduler.minRegisteredResourcesRatio", "1.0")
    .config("spark.scheduler.maxRegisteredResourcesWaitingTime", "3000s")
    .getOrCreate()
)
print("COUNT", spark.read.parquet("data/rows").repartition(8).count())
summaries = spark._jsc.sc().statusStore().executorList(False)
ran = [(summaries.apply(i).id(), summaries.apply(i).totalTasks()) for i in range(summaries.size())]
print("RAN", *sorted(name for name, tasks in ran if tasks))
"""


@pytest.fixture(scope="module")
def stand(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(ROWS, site.data, "data/rows")
    driver, executor = site.build(PROGRAM, small_spark), site.build_executor(PROGRAM, small_spark)
    owner.allow(driver, ("data/rows", "read"), logs="clinic/data", executor=executor)

    def other_executor(program):
        (site.root / "app/other.py").write_text(program)
        pinned = {name: served.ca for name, served in site.brokers.items()}
        recipe = Recipe(site.root / "app/other.py", small_spark, "job", pinned, role="executor")
        return build_cached(recipe, site.cache)[0]

    site.other_executor = other_executor
    return owner


@pytest.fixture(scope="module")
def outcome(site, stand):
    """Make every attack on one job, let it end, and return its log, and what was wrong with each attack."""
    opened, states = threading.Event(), []
    wrong, given = {}, {}

    def told(status):
        states.append(status)
        if status["state"] == "opened":
            opened.set()

    request, _ = site.members()
    with start(request) as driver:
        code = []
        attend = threading.Thread(target=lambda: code.append(driver.wait(told)), daemon=True)
        attend.start()
        assert opened.wait(200), states
        stage = Stage(site, stand, driver, next(s for s in states if s["state"] == "opened"))
        for attack in ATTACKS:
            before = stage.releases()
            try:
                attack.attack(stage)
            except Exception as error:
                wrong[attack.__name__] = error
            given[attack.__name__] = stage.releases() - before
        attend.join(900)
        stage.finish()
    return {"code": code, "log": driver_log(site, stand), "wrong": wrong, "given": given, "stage": stage}


def driver_log(site, owner):
    return next(log for log in site.logs(owner) if "the host says" in log)


def test_the_job_ends_as_if_nothing_had_been(outcome):
    assert outcome["code"] == [0], outcome["log"]
    assert "COUNT 2000" in outcome["log"]
    assert outcome["stage"].codes == {"1": 0, "2": 0}


def test_tasks_ran_in_true_executors_only(outcome):
    (ran,) = [line.split()[1:] for line in outcome["log"].splitlines() if line.startswith("RAN")]
    assert set(ran) <= {"1", "2"}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.rpartition(".")[2])
def test_an_attack(outcome, attack):
    assert attack.__name__ not in outcome["wrong"], outcome["wrong"]
    assert outcome["given"][attack.__name__] == (1 if attack in BESIDE_TRUE_ONES else 0)  # to the true one
    for cause in (attack.CAUSE, getattr(attack, "ALSO", attack.CAUSE)):
        assert found(cause, outcome["log"]), outcome["log"]
