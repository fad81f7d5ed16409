import re
from pathlib import Path, PurePosixPath

import pytest

from confide.flink.cluster_settings import Job
from confide.flink.settings import settings
from confide.jvm.stores import Stores

OWN = Stores(Path("/run/confide/flink/member.p12"), Path("/run/confide/flink/job.p12"), "of the process")
MEMBER = Stores(Path("/run/confide/member.p12"), Path("/run/confide/job.p12"), "of the job")


def table(job, heap_mib=0):
    return settings(PurePosixPath("/scratch"), PurePosixPath("/py"), OWN, cores=2, job=job, heap_mib=heap_mib)


DRIVER = table(Job("10.0.0.5", MEMBER, executors=3))
WORKER = table(Job("10.0.0.6", MEMBER, driver="10.0.0.5:40123", name="executor-7"), heap_mib=960)
BOTH = pytest.mark.parametrize("member", [DRIVER, WORKER], ids=["job manager", "task manager"])


@BOTH
def test_every_name_stands_once_and_none_of_ours_is_forbidden(member):
    names = [row.name for row in (*member.fixed, *member.default)]
    assert len(names) == len(set(names))
    member.check({row.name: row.value for row in (*member.default, *member.fixed)})


@BOTH
def test_members_trust_their_job_and_rest_trusts_this_process_alone(member):
    values = member.values()
    for side, stores in (("internal", MEMBER), ("rest", OWN)):
        assert values[f"security.ssl.{side}.keystore"] == str(stores.key)
        assert values[f"security.ssl.{side}.truststore"] == str(stores.trust)
        for name in ("keystore", "key", "truststore"):
            assert values[f"security.ssl.{side}.{name}-password"] == stores.secret
    for row in ("security.ssl.internal.enabled", "security.ssl.rest.authentication-enabled"):
        assert values[row] == "true"
    assert values["rest.bind-address"] == values["rest.address"] == "localhost"
    assert values["python.execution-mode"] == "thread"


def test_where_they_listen_and_look():
    assert DRIVER.values()["jobmanager.rpc.port"] == "0"
    for name in ("jobmanager.rpc.address", "jobmanager.bind-host"):
        assert DRIVER.values()[name] == WORKER.values()[name] == "10.0.0.5"
    assert WORKER.values()["jobmanager.rpc.port"] == "40123"
    for name in ("taskmanager.host", "taskmanager.bind-host"):
        assert WORKER.values()[name] == "10.0.0.6"


@pytest.mark.parametrize(
    "name",
    [
        "jobmanager.rpc.address",
        "jobmanager.rpc.port",
        "jobmanager.bind-host",
        "taskmanager.host",
        "taskmanager.bind-host",
        "rest.bind-address",
        "security.ssl.internal.truststore",
    ],
)
def test_a_program_changes_none_of_it(name):
    (row,) = [row for row in DRIVER.fixed if row.name == name]
    assert not re.fullmatch(row.pattern, row.value + "0")
    assert not re.fullmatch(row.pattern, "0.0.0.0")


def test_a_job_takes_all_slots_unless_it_says_otherwise():
    assert DRIVER.values()["parallelism.default"] == "6"
    assert WORKER.values()["taskmanager.numberOfTaskSlots"] == "2"


def test_a_task_manager_s_heap_is_its_jvm_s():
    sizes = {
        name: int(value.removesuffix("m"))
        for name, value in WORKER.values().items()
        if name.startswith("taskmanager.memory.")
    }
    heap = sizes["taskmanager.memory.task.heap.size"] + sizes["taskmanager.memory.framework.heap.size"]
    assert heap == 960
    assert sizes["taskmanager.memory.network.min"] == sizes["taskmanager.memory.network.max"]
    assert sizes["taskmanager.memory.jvm-overhead.min"] == sizes["taskmanager.memory.jvm-overhead.max"]


@BOTH
def test_representation_shows_no_secret(member):
    assert MEMBER.secret not in repr(Job("h", MEMBER))
