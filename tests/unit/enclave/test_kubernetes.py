"""Objects of Kubernetes: of their published schemas, without a secret, without a privilege."""

from __future__ import annotations

import json

import kubernetes_validate
import pytest

from confide.enclave.image import Image, Limits
from confide.enclave.kubernetes import PodRun, object_name, objects
from confide.errors import Misuse

VERSIONS = ("1.33", "1.37")


def image(role: str = "driver") -> Image:
    return Image(
        name="Job of 2026",
        profile="spark",
        role=role,
        argv=("/bin/agent",),
        program="/app/job.py",
        limits=Limits(memory_mib=2048, scratch_mib=1024, cores=3),
        brokers={"clinic": "PEM"},
        files=(),
    )


def run(tee: str = "tdx", workers: int = 2, **changes: object) -> PodRun:
    given = {
        "tee": tee,
        "container": "registry.example/confide-spark@sha256:00",
        "folder": "job-image",
        "image": image(),
        "brokers": [("https://kbs.example:8443", "ca.pem")],
        "arguments": ("--year=2026",),
        "workers": workers,
        "executor_folder": "executor-image",
        "executor": image("executor") if workers else None,
    }
    return PodRun(**{**given, **changes})  # type: ignore[arg-type]


CASES = {
    "tdx": run(),
    "snp": run("snp"),
    "simulated": run("simulated"),
    "sgx": run("sgx", 0, libos="gramine"),
    "alone": run("tdx", 0),
}


def pods(case: PodRun) -> list[dict]:
    return [each["spec"]["template"]["spec"] for each in objects(case)["items"]]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_each_is_of_its_schema(name, version):
    found = objects(CASES[name])
    assert json.loads(json.dumps(found)) == found
    for each in found["items"]:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_fault_would_be_found():
    broken = objects(CASES["tdx"])["items"][0]
    broken["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize("name", CASES)
def test_no_pod_has_a_privilege_or_a_secret_in_it(name):
    for pod in pods(CASES[name]):
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert not security["allowPrivilegeEscalation"]
        assert not {"privileged", "envFrom"} & {*security, *container}
        assert not any("hostPath" in volume for volume in pod["volumes"])
        assert {each["name"] for each in container["env"]} == {"POD_IP", "CONFIDE_HOME"}
        assert not pod["automountServiceAccountToken"]
        # Elsewhere than for `simulated` not even the name of a secret.
        assert ("secret" in json.dumps(pod).lower()) == (name == "simulated")


def test_driver_and_executors_meet_through_the_file_on_shared_storage():
    driver, executor = (pod["containers"][0]["args"] for pod in pods(CASES["tdx"]))
    for arguments in (driver, executor):
        assert arguments[arguments.index("--job") + 1] == "/work/confide-jobs/job-of-2026.json"
        assert arguments[arguments.index("--host") + 1] == "$(POD_IP)"
    assert driver[-2:] == ["/images/job-image", "--year=2026"]
    assert driver[driver.index("--local-workers") + 1] == "0"
    assert executor[-1] == "/images/executor-image"


def test_as_many_executors_as_workers_and_lost_ones_are_replaced():
    driver, executors = (each["spec"] for each in objects(run(workers=5))["items"])
    assert (driver["completions"], driver["backoffLimit"]) == (1, 0)
    assert (executors["completions"], executors["parallelism"], executors["backoffLimit"]) == (5, 5, 5)


def test_each_tee_has_its_devices():
    assert {pod["runtimeClassName"] for pod in pods(CASES["tdx"])} == {"kata-qemu-tdx"}
    assert {pod["runtimeClassName"] for pod in pods(CASES["snp"])} == {"kata-qemu-snp"}
    (pod,) = pods(CASES["sgx"])
    assert pod["containers"][0]["resources"]["limits"]["sgx.intel.com/epc"] == "2048Mi"
    assert "runtimeClassName" not in pod


def test_memory_holds_the_workload_and_its_scratch_space():
    for pod in pods(CASES["tdx"]):
        assert pod["containers"][0]["resources"]["limits"]["memory"] == "3584Mi"


@pytest.mark.parametrize("tee", ["tpm", "az-snp-vtpm", "az-tdx-vtpm", "none"])
def test_no_pods_for_other_tees(tee):
    with pytest.raises(Misuse):
        objects(run(tee))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("job", "job"),
        ("Job_1.x", "job-1-x"),
        ("--", "program"),
        ("a" * 60, "a" * 40),
        ("x" * 39 + "--y", "x" * 39),
    ],
)
def test_names_are_those_of_kubernetes(name, expected):
    assert object_name(name) == expected
