"""Each size of an enclave by its rule: `gramine-direct` ignores them all, so nothing else finds them wrong."""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from confide.enclave.gramine.sizes import (
    GRAMINE_THREADS,
    STACK_MIB,
    edmm_possible,
    enclave_mib,
    mapped_mib,
    max_threads,
    stacks_mib,
    use_exinfo,
)
from confide.enclave.image import Limits
from confide.errors import InvalidImage
from confide.flink.enclave import MANAGED_MIB
from confide.flink.enclave import enclave_needs as flink_needs
from confide.flink.jvm import DIRECT_MIB
from confide.jvm.command import heap_mib
from confide.jvm.enclave import enclave_options, jvm_mib
from confide.python.enclave import enclave_needs as python_needs
from confide.serving.enclave import POOL_THREADS
from confide.serving.enclave import enclave_needs as serving_needs
from confide.spark.enclave import enclave_needs as spark_needs

from .conftest import file


def with_files(image, *files):
    return image.model_copy(update={"files": tuple(sorted(files, key=lambda each: each.path))})


def test_enclave_is_the_smallest_power_of_two_that_holds_all_parts(image, needs):
    # 512 memory + 8 + 20 * 8 stacks + 3 mapped + 64 + 23 * 400 KiB of Gramine
    assert enclave_mib(image, needs) == 1024
    assert enclave_mib(image, dataclasses.replace(needs, memory_mib=1024 - 512 + 264)) == 1024
    assert enclave_mib(image, dataclasses.replace(needs, memory_mib=1024)) == 2048


def test_an_enclave_grows_with_each_part(image, needs):
    huge = file("lib/x86_64-linux-gnu/libhuge.so.1", 4 << 30)
    assert enclave_mib(with_files(image, huge), needs) == 8192
    assert enclave_mib(image, dataclasses.replace(needs, threads=200)) == 4096
    assert enclave_mib(image, dataclasses.replace(needs, threads=200, thread_stack_mib=1)) == 1024


def test_what_fits_into_no_enclave_is_refused_with_the_numbers(image, needs):
    with pytest.raises(InvalidImage, match=r"memory 1,048,576 MiB, stacks 168 MiB, .* at most 1,048,576 MiB"):
        enclave_mib(image, dataclasses.replace(needs, memory_mib=1 << 20))


def test_threads_are_the_engines_and_gramines(needs):
    assert max_threads(needs) == 20 + GRAMINE_THREADS


def test_stacks(needs):
    assert stacks_mib(needs) == STACK_MIB + 20 * 8


def test_mapped_files_are_libraries_and_the_jvms_modules(image):
    mib = 1 << 20
    files = [
        file("lib/x86_64-linux-gnu/libz.so.1", mib),
        file("opt/confide/site/a.so", mib),
        file("opt/confide/java/lib/modules", 100 * mib),
        file("opt/confide/site/a.jar", 500 * mib),
        file("opt/confide/site/sonata.py", 500 * mib),
    ]
    assert mapped_mib(with_files(image, *files)) == 102


def test_page_faults_are_told_to_the_jvm_alone(image):
    assert not use_exinfo(image)
    assert use_exinfo(with_files(image, file("opt/confide/java/bin/java", executable=True)))


@pytest.mark.parametrize(
    ("kernel", "possible"), [((5, 15), False), ((5, 19), False), ((6, 0), True), ((6, 18), True)]
)
def test_edmm_by_kernel(kernel, possible):
    assert edmm_possible(kernel) is possible


def test_python_counts_pools_by_cores_that_the_image_names(image):
    two = python_needs(image)
    four = python_needs(image.model_copy(update={"limits": Limits(memory_mib=512, scratch_mib=64)}))
    assert (two.threads, four.threads) == (24, 32)
    assert two.env == {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    assert two.clear_work


def test_spark_holds_the_heap_and_every_bounded_part_of_the_jvm(image):
    needs = spark_needs(image.model_copy(update={"limits": Limits(memory_mib=4096, scratch_mib=64, cores=2)}))
    heap = heap_mib(4096)
    assert needs.memory_mib == jvm_mib(heap) == heap + heap // 10 + 512 + 128 + 160 + heap // 8
    assert needs.clear_work
    options = enclave_options(heap, 2, False)
    for bound in (
        "-XX:MaxMetaspaceSize=512m",
        "-XX:CompressedClassSpaceSize=128m",
        "-XX:ReservedCodeCacheSize=160m",
    ):
        assert bound in options
    assert f"-XX:MaxDirectMemorySize={heap // 8}m" in options
    assert "-XX:ActiveProcessorCount=2" in options


def test_sparks_threads_grow_with_cores(image):
    counts = [
        spark_needs(
            image.model_copy(update={"limits": Limits(memory_mib=4096, scratch_mib=64, cores=cores)})
        ).threads
        for cores in (1, 2, 16)
    ]
    assert counts == sorted(set(counts))


@pytest.mark.parametrize(("cores", "threads"), [(1, 122), (2, 130), (16, 242), (None, 146)])
def test_serving_counts_its_pools_and_a_pool_of_cores_for_each_of_eight_models(image, cores, threads):
    limits = Limits(memory_mib=1024, scratch_mib=64, cores=cores)
    needs = serving_needs(image.model_copy(update={"limits": limits}))
    assert needs.threads == threads
    assert max_threads(needs) == threads + GRAMINE_THREADS
    assert (needs.memory_mib, needs.processes, needs.clear_work) == (1024, 1, False)


def test_servings_three_pools_of_python_are_no_larger_on_a_machine_of_many_cores(monkeypatch):
    for name in ("cpu_count", "process_cpu_count"):  # the second from Python 3.13 on
        monkeypatch.setattr(os, name, lambda: 1000, raising=False)
    with ThreadPoolExecutor() as pool:
        assert 3 * pool._max_workers + 2 == POOL_THREADS


def test_flink_holds_its_own_buffers_and_python_in_one_process_with_the_jvm(image):
    needs = flink_needs(image.model_copy(update={"limits": Limits(memory_mib=4096, scratch_mib=64, cores=2)}))
    heap = heap_mib(4096)
    assert needs.memory_mib == jvm_mib(heap, DIRECT_MIB) + MANAGED_MIB + 4096 - heap
    assert jvm_mib(heap, DIRECT_MIB) == jvm_mib(heap) + DIRECT_MIB
    assert f"-XX:MaxDirectMemorySize={heap // 8 + DIRECT_MIB}m" in enclave_options(heap, 2, False, DIRECT_MIB)
    assert (needs.processes, needs.no_vfork, needs.clear_work) == (3, True, True)


@pytest.mark.parametrize(("cores", "threads"), [(1, 144), (2, 168), (None, 216)])
def test_flinks_threads_grow_with_cores(image, cores, threads):
    limits = Limits(memory_mib=4096, scratch_mib=64, cores=cores)
    assert flink_needs(image.model_copy(update={"limits": limits})).threads == threads
