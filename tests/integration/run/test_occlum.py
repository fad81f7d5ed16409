"""An image as an instance of Occlum: laid out, started and attended by the real code, with a stand-in for Occlum.

The stand-in does with the copy plan, the configuration and the arguments what Occlum's documentation says, and runs the
real agent on what comes of it. A process is made by `vfork` or `posix_spawn` alone, as in Occlum: the kernel refuses
`fork`. It is no enclave, and shows nothing of Occlum's other limits.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from confide.cli.enclaves import enclave_for_run, rendered
from confide.cli.programs import BuiltImage
from confide.enclave.image import Image, Limits, measurement
from confide.enclave.occlum.start import FOLDER, MODE
from confide.errors import FileChanged, InvalidImage, LaunchRefused, MissingDependency, Misuse
from confide.python.image_spec import image_profile

OCCLUM = f"""#!{sys.executable}
# Runs the instance in this folder: `occlum run PATH ARGUMENTS`, as Occlum's own script finds its parts.
import errno, json, os, pathlib, struct, subprocess, sys, tempfile

# A filter of system calls, each line: code, jumps if so and if not, value.
FORK, VFORK, CLONE, CLONE3, CLONE_VM = 57, 58, 56, 435, 0x100
refuse, allow = (0x06, 0, 0, 0x50000 | errno.ENOSYS), (0x06, 0, 0, 0x7FFF0000)
NO_FORK = [
    (0x20, 0, 0, 0),  # the call's number
    (0x15, 5, 0, FORK),
    (0x15, 4, 0, CLONE3),  # C libraries go on with `clone`, whose flags can be seen
    (0x15, 0, 2, CLONE),
    (0x20, 0, 0, 16),  # its flags
    (0x45, 0, 1, CLONE_VM),
    allow,
    refuse,
]
rules = tempfile.TemporaryFile()
rules.write(b"".join(struct.pack("HBBI", *line) for line in NO_FORK))
rules.seek(0)

here = pathlib.Path.cwd()
assert sys.argv[1] == "run", sys.argv
path, *given = sys.argv[2:]
assert (here / ".__occlum_status").read_text() == "built\\n"
for folder in ("run/mount/__ROOT", "run/initfs/__ROOT"):
    assert (here / folder).is_dir() and not list((here / folder).iterdir()), folder
configuration = json.loads((here / "Occlum.json").read_text())
assert any(path == each or path.startswith(each + "/") for each in configuration["entry_points"])
root = here / "build/mount/__ROOT"
interpreter = (root / path.lstrip("/")).read_text().partition("\\n")[0].removeprefix("#!")
bwrap = ["bwrap", "--unshare-pid", "--die-with-parent", "--clearenv", "--dir", "/", "--seccomp", str(rules.fileno())]
for each in sorted(root.iterdir()):
    if each.name not in ("proc", "dev", "tmp", "run", "work", "scratch", "data"):
        bwrap += ["--ro-bind", str(each), f"/{{each.name}}"]
bwrap += ["--tmpfs", "/scratch", "--tmpfs", "/work", "--ro-bind", str(root / "run"), "/run"]
for mount in configuration["mount"]:
    kind, target = mount["type"], mount["target"]
    if kind == "hostfs":
        bwrap += ["--bind", str((here / mount["source"]).resolve()), target]
    elif kind in ("procfs", "devfs", "ramfs"):
        bwrap += [{{"procfs": "--proc", "devfs": "--dev", "ramfs": "--tmpfs"}}[kind], target]
for variable in configuration["env"]["default"]:
    bwrap += ["--setenv", *variable.split("=", 1)]
evil = ["-c", "raise SystemExit(9)"]  # a host adds arguments
argv = [interpreter, path, *given, *evil]
sys.exit(subprocess.run([*bwrap, "--", *argv], check=False, pass_fds=[rules.fileno()]).returncode)
"""

PROGRAM = """
import os
import pathlib
import pandas as pd

try:
    os.fork()
except OSError as error:
    print(error)

table = pd.read_parquet("in/patients")
pathlib.Path("out/rows").mkdir(parents=True)
table.assign(age=table["age"] + 1).to_parquet("out/rows/part.parquet")
print("rows", len(table))
"""


def copy_bom(bom: Path, root: Path) -> None:
    """Fill an instance's image as `copy_bom -f bom.yaml --root image` does, which is run in the instance."""
    for target in yaml.safe_load(bom.read_text())["targets"]:
        place = root / target["target"].lstrip("/")
        for name in target.get("mkdirs", ()):
            (place / name).mkdir(parents=True, exist_ok=True)
        for source in target.get("copy", ()):
            for file in source["files"]:
                place.mkdir(parents=True, exist_ok=True)
                folder = root.parent / source["from"]
                if str(folder).startswith(
                    "/opt/occlum/glibc"
                ):  # Occlum's own C library: here, this machine's
                    folder = root.parent / ".." / "root" / target["target"].lstrip("/")
                os.link((folder / file["name"]).resolve(), place / file.get("rename", file["name"]))


@pytest.fixture(scope="module")
def occlum(tmp_path_factory):
    """A PATH with `occlum` in front."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "occlum").write_text(OCCLUM)
    (folder / "occlum").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def study(site, new_owner, tmp_path_factory):
    """An image folder with a built instance in it, which its owner lets read patients."""
    owner = new_owner("clinic", site.broker("local"), tmp_path_factory.mktemp("plain"))
    owner.encrypt(pa.table({"age": [31, 42]}), site.data, "in/patients")
    profile = dataclasses.replace(image_profile(), limits=Limits(memory_mib=512, scratch_mib=64, cores=2))
    image = site.build(PROGRAM, profile, libos="occlum")
    owner.allow(image, ("in/patients", "read"), ("out/rows", "write"), logs=str(owner.key))
    folder = tmp_path_factory.mktemp("study") / "image"
    shutil.copytree(site.folder, folder, copy_function=os.link)
    instance = folder / FOLDER
    (instance / "build/mount/__ROOT").mkdir(parents=True)
    (instance / "initfs").mkdir()
    for name, content in rendered(folder, "occlum").items():
        (instance / name).write_bytes(content)
    (instance / "start").chmod(0o755)
    root = instance / "image"
    copy_bom(instance / "bom.yaml", root)
    (instance / "build/mount/__ROOT").rmdir()
    root.rename(instance / "build/mount/__ROOT")
    (instance / MODE).write_text("SIM\n")
    return site, owner, BuiltImage(folder, image, measurement(image))


@pytest.fixture
def on_path(occlum, monkeypatch):
    monkeypatch.setenv("PATH", occlum)


@pytest.mark.usefixtures("on_path")
def test_a_program_on_encrypted_tables_whatever_arguments_the_host_adds(study):
    site, owner, built = study
    enclave = enclave_for_run(built, "simulated", "occlum")
    assert site.run(image=built.folder, enclave=enclave) == 0
    assert site.log(owner) == "[Errno 38] Function not implemented\nrows 2\n"
    assert owner.read(site.data, "out/rows").to_pydict() == {"age": [32, 43]}


@pytest.mark.usefixtures("on_path")
def test_arguments_that_the_program_does_not_declare_are_refused_before_anything_starts(study):
    site, _, built = study
    with pytest.raises(LaunchRefused):
        site.run("--evil", image=built.folder, enclave=enclave_for_run(built, "simulated", "occlum"))


@pytest.mark.usefixtures("on_path")
def test_an_instance_of_another_configuration_is_not_started(study, tmp_path):
    _, _, built = study
    folder = tmp_path / "image"
    (folder / FOLDER).mkdir(parents=True)
    document = json.loads((built.folder / FOLDER / "Occlum.json").read_text())
    document["env"]["untrusted"] = ["LD_PRELOAD"]
    (folder / FOLDER / "Occlum.json").write_text(json.dumps(document, indent=4) + "\n")
    (folder / FOLDER / MODE).write_text("SIM\n")
    with pytest.raises(FileChanged, match=r"Occlum\.json"):
        enclave_for_run(dataclasses.replace(built, folder=folder), "simulated", "occlum")


@pytest.mark.usefixtures("on_path")
def test_an_instance_for_simulation_is_none_for_sgx(study):
    _, _, built = study
    with pytest.raises(Misuse, match="mode 'SIM'; the TEE sgx takes one built for HW"):
        enclave_for_run(built, "sgx", "occlum")


@pytest.mark.usefixtures("on_path")
def test_an_image_without_instance(study):
    site, _, built = study
    with pytest.raises(InvalidImage, match="no built instance of Occlum"):
        enclave_for_run(dataclasses.replace(built, folder=site.folder), "simulated", "occlum")


def test_where_occlum_is_not_installed(study, monkeypatch, tmp_path):
    _, _, built = study
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="occlum is not installed"):
        enclave_for_run(built, "simulated", "occlum")


def test_the_measured_document_is_the_one_in_the_instance(study):
    _, _, built = study
    inside = built.folder / FOLDER / "build/mount/__ROOT/run/image.json"
    assert measurement(Image.from_json(inside.read_bytes())) == built.measurement
