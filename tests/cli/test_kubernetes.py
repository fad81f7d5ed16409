"""`confide run --dry-run k8s`: objects for images that are built, and nothing run."""

from __future__ import annotations

import json

import kubernetes_validate
import pytest

from confide.enclave.image import Image, Limits

BROKER = ("--broker", "https://kbs.example:8443", "--broker-ca", "ca.pem")


def write_image(folder, role="driver"):
    """Write an image folder's document, which is all that is read."""
    folder.mkdir()
    image = Image(
        name="job",
        profile="spark",
        role=role,
        argv=("/bin/agent",),
        program="/app/job.py",
        args=("--year=[0-9]{4}",),
        limits=Limits(memory_mib=2048, scratch_mib=1024),
        brokers={"broker1": "PEM"},
        files=(),
    )
    (folder / "image.json").write_bytes(image.canonical())


@pytest.fixture
def images(confide):
    write_image(confide.folder / "job-image")
    write_image(confide.folder / "executor-image", "executor")
    confide.ok("init", "clinic")
    (confide.folder / "ca.pem").write_text(confide.ok("broker", "ca").out)
    return confide


def test_objects_for_driver_and_executors(images):
    said = images.ok(
        "run", "--dry-run", "k8s", "--tee", "tdx", "--workers", "3", "--executor-image", "executor-image",
        *BROKER, "job-image", "--year=2026",
    )  # fmt: skip
    items = json.loads(said.out)["items"]
    assert [item["metadata"]["name"] for item in items] == ["job-driver", "job-executor"]
    for item in items:
        kubernetes_validate.validate(item, "1.33", strict=True)
    assert "confide-data" in said.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--tee", "tdx", "job-image"), "--broker"),
        ((*BROKER, "job-image"), "--tee"),
        (("--tee", "az-snp-vtpm", *BROKER, "job-image"), "az-snp-vtpm"),
        (("--tee", "tdx", *BROKER, "job.py"), "confide image build"),
        (("--tee", "tdx", *BROKER, "--workers", "2", "job-image"), "--executor-image"),
        (("--tee", "tdx", *BROKER, "--workers", "2", "--executor-image", "job-image", "job-image"), "role"),
        (("--tee", "tdx", *BROKER, "job-image", "--other"), "--other"),
        (("--tee", "tdx", *BROKER, "--launch", "flag=1", "job-image"), "flag"),
    ],
)
def test_what_pods_would_not_run_is_refused_before(images, words, named):
    said = images("run", "--dry-run", "k8s", *words)
    assert said.code not in (0, 1)
    assert named in said.err
    assert not said.out


def test_there_is_one_kind_of_cluster(images):
    said = images("run", "--dry-run", "yarn", "--tee", "tdx", *BROKER, "job-image")
    assert said.code == 64
    assert "k8s" in said.err
