"""Objects of Kubernetes that run images: a Job for the program, and one for the executors of a Spark driver. Pure.

Each pod runs `confide run` as anybody would at a machine: nothing in the objects is secret, and the cluster is an
operator like any other. What stock Spark and its Operator do on Kubernetes is not used: there the driver starts
executors and hands them its secret in their environment. Here executors join by themselves (docs/cluster.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from confide.attestation.claims import Tee
from confide.broker.home import HOST_KEY_NAME
from confide.enclave.image import WORK, Image
from confide.errors import Misuse

IMAGES = "/images"
"""Where the claim with image folders and certificates of brokers' authorities is mounted."""
HOME = "/home/confide/home"
IMAGES_CLAIM, DATA_CLAIM, HOST_SECRET = "confide-images", "confide-data", "confide-host"
OVERHEAD_MIB = 512
"""Memory beside the workload's and its scratch space: launcher and agent."""
JOBS = f"{WORK}/confide-jobs"

RUNTIME_CLASSES: Mapping[str, str] = {Tee.TDX: "kata-qemu-tdx", Tee.SNP: "kata-qemu-snp"}
"""TEE -> runtime class of Kata Containers that starts a pod in such a virtual machine."""

_ANY_CORES = 2
_JSON = dict[str, Any]


@dataclass(frozen=True)
class PodRun:
    """What is to run on a cluster.

    Attributes:
        tee: kind of TEE.
        container: image of the containers, with `confide` in it.
        folder: name of the image's folder, below `IMAGES`.
        image: its document.
        brokers: URL and name of the authority's certificate, below `IMAGES`, of each broker.
        arguments: of the program.
        workers: executors; 0: none.
        executor_folder: name of their image's folder.
        executor: its document.
        worker_cores: cores of each.
        libos: library OS.
        launch: further launch parameters of the program.
    """

    tee: str
    container: str
    folder: str
    image: Image
    brokers: Sequence[tuple[str, str]]
    arguments: Sequence[str] = ()
    workers: int = 0
    executor_folder: str = ""
    executor: Image | None = None
    worker_cores: int | None = None
    libos: str | None = None
    launch: Mapping[str, str] = field(default_factory=dict)


def objects(run: PodRun) -> _JSON:
    """Return a List of the objects that `kubectl apply -f` takes.

    Raises:
        Misuse: no pods have this TEE.
    """
    if run.tee not in (Tee.SGX, Tee.SIMULATED, *RUNTIME_CLASSES):
        raise Misuse(
            f"no pods for the TEE {run.tee}: there are sgx, tdx, snp, and simulated, which protects nothing"
        )
    name = object_name(run.image.name)
    common = ["run", "--tee", run.tee, "--data", WORK]
    for url, authority in run.brokers:
        common += ["--broker", url, "--broker-ca", f"{IMAGES}/{authority}"]
    if run.libos:
        common += ["--libos", run.libos]
    common += [f"--launch={key}={value}" for key, value in run.launch.items()]
    if not run.workers:
        command = [*common, f"{IMAGES}/{run.folder}", *run.arguments]
        return _list([_job(run, name, "driver", run.image, command)])
    assert run.executor is not None
    rendezvous = ["--host", "$(POD_IP)", "--job", f"{JOBS}/{name}.json"]
    driver = [
        *(*common, *rendezvous, "--workers", str(run.workers), "--local-workers", "0"),
        *("--executor-image", f"{IMAGES}/{run.executor_folder}", f"{IMAGES}/{run.folder}", *run.arguments),
    ]
    cores = run.worker_cores or run.executor.limits.cores or _ANY_CORES
    executor = [*common, *rendezvous, "--worker-cores", str(cores), f"{IMAGES}/{run.executor_folder}"]
    return _list(
        [
            _job(run, name, "driver", run.image, driver),
            _job(run, name, "executor", run.executor, executor, count=run.workers, cores=cores),
        ]
    )


def object_name(name: str) -> str:
    """Return a name as Kubernetes has them (RFC 1123): at most 40 of `a-z 0-9 -`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "program"


def _list(items: Sequence[_JSON]) -> _JSON:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def _job(
    run: PodRun,
    name: str,
    role: str,
    image: Image,
    command: Sequence[str],
    *,
    count: int = 1,
    cores: int | None = None,
) -> _JSON:
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": role,
        "app.kubernetes.io/managed-by": "confide",
    }
    driver = role == "driver"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-{role}", "labels": labels},
        "spec": {
            "completions": count,
            "parallelism": count,
            # A program runs once; an executor that was lost is replaced, as `confide run` does it.
            "backoffLimit": 0 if driver else max(3, count),
            "template": {
                "metadata": {"labels": labels, **_annotations(run.tee)},
                "spec": _pod(run, role, image, command, cores),
            },
        },
    }


def _annotations(tee: str) -> _JSON:
    """Intel's admission webhook adds the host's AESM, which makes quotes."""
    return {"annotations": {"sgx.intel.com/quote-provider": "aesmd"}} if tee == Tee.SGX else {}


def _pod(run: PodRun, role: str, image: Image, command: Sequence[str], cores: int | None) -> _JSON:
    volumes: list[_JSON] = [
        {"name": "images", "persistentVolumeClaim": {"claimName": IMAGES_CLAIM, "readOnly": True}},
        {"name": "data", "persistentVolumeClaim": {"claimName": DATA_CLAIM}},
        {"name": "tmp", "emptyDir": {"medium": "Memory"}},
    ]
    mounts: list[_JSON] = [
        {"name": "images", "mountPath": IMAGES, "readOnly": True},
        {"name": "data", "mountPath": WORK},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
    ]
    if run.tee == Tee.SIMULATED:
        volumes.append({"name": "host", "secret": {"secretName": HOST_SECRET, "defaultMode": 0o440}})
        path = str(PurePosixPath(HOME, HOST_KEY_NAME))
        mounts.append({"name": "host", "mountPath": path, "subPath": HOST_KEY_NAME, "readOnly": True})
    sandboxed = run.libos is None
    return {
        "restartPolicy": "Never" if role == "driver" else "OnFailure",
        **({"runtimeClassName": RUNTIME_CLASSES[run.tee]} if run.tee in RUNTIME_CLASSES else {}),
        **({"hostUsers": False} if sandboxed else {}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
        "containers": [
            {
                "name": role,
                "image": run.container,
                "args": list(command),
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "CONFIDE_HOME", "value": HOME},
                ],
                "resources": _resources(run.tee, image, cores),
                "securityContext": _confined(sandboxed=sandboxed),
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _confined(*, sandboxed: bool) -> _JSON:
    """No privilege; where bubblewrap confines the image: namespaces of a user's own, and a whole /proc."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "Unconfined" if sandboxed else "RuntimeDefault"},
        **({"procMount": "Unmasked"} if sandboxed else {}),
    }


def _resources(tee: str, image: Image, cores: int | None) -> _JSON:
    limits = image.limits
    memory = f"{limits.memory_mib + limits.scratch_mib + OVERHEAD_MIB}Mi"
    asked = {"memory": memory, "cpu": str(cores or limits.cores or _ANY_CORES)}
    if tee != Tee.SGX:
        return {"requests": asked, "limits": asked}
    devices = {
        "sgx.intel.com/epc": f"{limits.memory_mib}Mi",
        "sgx.intel.com/enclave": "1",
        "sgx.intel.com/provision": "1",
    }
    return {"requests": {**asked, **devices}, "limits": {**asked, **devices}}
