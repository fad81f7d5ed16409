"""Occlum's configuration and copy plan of an image, against its documented keys."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.image import ImageFile, measurement
from confide.enclave.occlum.render import (
    START,
    bom,
    bom_yaml,
    configuration,
    configuration_json,
    start_script,
)
from confide.enclave.occlum.schema import OcclumConfiguration

NEEDS = EnclaveNeeds(memory_mib=512, threads=20, thread_stack_mib=8, processes=2, clear_work=True)


@pytest.fixture
def image(make_image):
    paths = (
        "app/job.py",
        "lib/x86_64-linux-gnu/libc.so.6",
        "lib/x86_64-linux-gnu/libz.so.1",
        "opt/confide/site/__pycache__/a.cpython-311.pyc",
        "opt/confide/site/a.py",
    )
    return make_image(files=tuple(ImageFile(path=path, size=1, sha256="ab" * 32) for path in paths))


@pytest.fixture
def document(image) -> dict[str, Any]:
    return json.loads(configuration_json(configuration(image, NEEDS)))


def test_it_has_the_documented_keys_and_no_others(document):
    assert OcclumConfiguration.from_json(json.dumps(document).encode()) is not None
    assert set(document) == {
        *("resource_limits", "process", "entry_points", "env", "metadata", "feature", "mount")
    }


def test_nothing_is_taken_from_the_host_and_it_cannot_be_debugged(document):
    assert document["env"]["untrusted"] == []
    assert "CONFIDE_LIBOS=occlum" in document["env"]["default"]
    assert document["metadata"]["debuggable"] is False
    assert [mount["target"] for mount in document["mount"] if mount["type"] == "hostfs"] == ["/data"]


def test_one_enclave_holds_all_processes(document):
    assert document["resource_limits"]["user_space_size"] == f"{2 * (512 + 8 + 160) + 1}MB"


def test_libraries_are_found_and_secrets_lie_in_memory(document):
    assert "LD_LIBRARY_PATH=/lib/x86_64-linux-gnu" in document["env"]["default"]
    assert any((each["target"], each["type"]) == ("/run/confide", "ramfs") for each in document["mount"])


def test_the_interpreter_is_no_entry_point(document, image):
    assert document["entry_points"] == ["/opt/confide/start"]
    assert not any(image.argv[0].startswith(entry) for entry in document["entry_points"])


@pytest.mark.parametrize("chosen", [[], ["-c", "print('stolen')"], ["-m", "http.server"], ["--", "x"]])
def test_no_argument_of_the_hosts_reaches_what_is_started(make_image, tmp_path, chosen):
    fixed = (sys.executable, "-c", "import sys; print(sys.argv[1:])", "\u00e9'\"\\\n", "b")
    start = tmp_path / "start"
    start.write_bytes(start_script(make_image(argv=fixed)))
    line = start.read_text().splitlines()[0]
    as_occlum_does = [line.removeprefix("#!"), start, *chosen]
    assert len(line) < 127
    ran = subprocess.run(as_occlum_does, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{list(fixed[3:])}\n"


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("metadata", "debuggable", True),
        ("metadata", "disable_log", False),
        ("env", "untrusted", ["LD_PRELOAD"]),
        ("env", "default", ["no assignment"]),
        ("resource_limits", "user_space_size", "lots"),
        ("resource_limits", "max_threads", 3),
        ("feature", "pkru", 3),
        ("mount", "type", "hostfs"),
    ],
)
def test_refused(document, table, name, value):
    if isinstance(document[table], list):
        document[table] = [{"target": "/", "type": "9p"}]
    else:
        document[table][name] = value
    with pytest.raises(ValidationError):
        OcclumConfiguration.from_json(json.dumps(document).encode())


def test_the_plan_copies_each_file_with_its_hash_and_occlums_c_library(image):
    plan = json.loads(bom_yaml(bom(image)))
    copied = {
        f"{target['target']}/{file.get('rename', file['name'])}": (
            copy["from"],
            file.get("hash"),
            file["autodep"],
        )
        for target in plan["targets"]
        for copy in target.get("copy", ())
        for file in copy["files"]
    }
    assert copied == {
        "/run/image.json": ("..", measurement(image).upper(), False),
        START: (".", hashlib.sha256(start_script(image)).hexdigest().upper(), False),
        "/app/job.py": ("../root/app", "AB" * 32, False),
        "/lib/x86_64-linux-gnu/libc.so.6": ("/opt/occlum/glibc/lib", None, False),
        "/lib/x86_64-linux-gnu/libz.so.1": ("../root/lib/x86_64-linux-gnu", "AB" * 32, False),
        "/opt/confide/site/a.pyc": (
            "../root/opt/confide/site/__pycache__",
            "AB" * 32,
            False,
        ),
    }


def test_the_same_image_gives_the_same_bytes(image):
    again = image.model_copy()
    assert configuration_json(configuration(again, NEEDS)) == configuration_json(configuration(image, NEEDS))
    assert bom_yaml(bom(again)) == bom_yaml(bom(image))
