"""Images that others made: what one looks at is what gets approved."""

from __future__ import annotations

import json
import tomllib

import pytest

from confide.canonical import sha256_hex
from confide.cli.output import plain
from confide.enclave.image import Image, ImageFile, Limits, measurement
from confide.enclave.run import SGX_DEVICES


def make_image(
    folder,
    files: dict[str, bytes],
    args: tuple[str, ...] = (),
    role: str = "driver",
    profile: str = "python",
    owners: tuple[str, ...] = (),
) -> str:
    listed = []
    for name, content in sorted(files.items()):
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        listed.append(ImageFile(path=name, size=len(content), sha256=sha256_hex(content)))
    image = Image(
        name="job",
        profile=profile,
        role=role,
        argv=("/opt/python",),
        program="/app/job.py",
        limits=Limits(memory_mib=64, scratch_mib=1),
        brokers={},
        args=args,
        owners=owners,
        files=tuple(listed),
    )
    (folder / "image.json").write_bytes(image.canonical())
    return measurement(image)


def test_a_document_that_hashes_other_files_is_not_approved(clinic):
    folder = clinic.folder / "image"
    make_image(folder, {"app/job.py": b"steal()\n"})
    (folder / "root/app/job.py").write_bytes(b"print()\n")  # what the owner is shown
    for command in (
        ("policy", "allow", "image", "--read", "data/patients"),
        ("image", "show", "image"),
        ("image", "diff", "image", "image"),
    ):
        said = clinic(*command)
        assert said.code == 91, (command, said.err)
        assert "/app/job.py" in said.err
    assert not (clinic.folder / "policy.toml").exists()


def test_an_image_that_holds_what_it_says_is_approved(clinic):
    approved = make_image(clinic.folder / "image", {"app/job.py": b"print()\n"})
    clinic.ok("policy", "allow", "image", "--read", "data/patients")
    assert approved in (clinic.folder / "policy.toml").read_text()


def test_an_image_that_names_others_is_not_approved(clinic):
    make_image(clinic.folder / "theirs", {"app/job.py": b"print()\n"}, owners=("bank", "lab"))
    said = clinic("policy", "allow", "theirs", "--read", "data/patients")
    assert said.code == 64
    assert "bank, lab; not clinic" in said.err
    make_image(clinic.folder / "ours", {"app/job.py": b"print()\n"}, owners=("bank", "clinic"))
    clinic.ok("policy", "allow", "ours", "--read", "data/patients")
    assert "bank, clinic" in clinic.ok("image", "show", "ours").out


def test_driver_and_executors_are_approved_together(clinic):
    driver = make_image(clinic.folder / "driver", {"app/job.py": b"print()\n"}, profile="spark")
    executor = make_image(clinic.folder / "executor", {"app/job.py": b"print()\n"}, (), "executor", "spark")
    clinic.ok("policy", "allow", "driver", "--executor-image", "executor", "--read", "data/patients")
    clinic.ok("policy", "check", "policy.toml")
    policy = tomllib.loads((clinic.folder / "policy.toml").read_text())
    assert [(each["role"], each["measurements"]) for each in policy["workload"]] == [
        ("driver", [driver]),
        ("executor", [executor]),
    ]
    assert {each["name"] for each in policy["workload"]} == {"job"}
    assert len(policy["grant"]) == 1
    clinic.ok("policy", "allow", "driver", "--read", "data/patients")  # takes the executors back
    assert executor not in (clinic.folder / "policy.toml").read_text()


def test_executors_that_are_none(clinic):
    make_image(clinic.folder / "driver", {"app/job.py": b"print()\n"}, profile="spark")
    said = clinic("policy", "allow", "driver", "--executor-image", "driver", "--read", "data/patients")
    assert (said.code, "role is driver" in said.err) == (64, True)
    said = clinic("policy", "allow", "driver", "--workers", "--read", "data/patients")
    assert (said.code, "--executor-image" in said.err) == (64, True)
    (clinic.folder / "plain.py").write_text("print()\n")
    said = clinic(
        "policy", "allow", "plain.py", "--workers", "--profile", "python", "--read", "data/patients"
    )
    assert (said.code, "no role 'executor'" in said.err) == (64, True)
    assert not (clinic.folder / "policy.toml").exists()


def test_an_executor_s_image_is_verified_before_it_is_approved(clinic):
    make_image(clinic.folder / "driver", {"app/job.py": b"print()\n"}, profile="spark")
    make_image(clinic.folder / "executor", {"app/job.py": b"print()\n"}, (), "executor", "spark")
    (clinic.folder / "executor/root/app/job.py").write_bytes(b"steal()\n")
    said = clinic("policy", "allow", "driver", "--executor-image", "executor", "--read", "data/patients")
    assert said.code == 91
    assert not (clinic.folder / "policy.toml").exists()


def test_launch_parameters_are_names_and_values(clinic):
    make_image(clinic.folder / "image", {"app/job.py": b"print()\n"})
    said = clinic("run", "--tee", "simulated", "--launch", "cores", "image")
    assert (said.code, "NAME=VALUE" in said.err) == (64, True)
    said = clinic("run", "--tee", "simulated", "--launch", "flags=-x", "image")
    assert (said.code, "does not declare" in said.err) == (95, True), said.err


def test_a_setting_that_weakens_is_refused_by_name(clinic):
    (clinic.folder / "plain.py").write_text("print()\n")
    for command in (
        ("policy", "allow", "plain.py", "--read", "data/patients"),
        ("image", "build", "plain.py"),
    ):
        said = clinic(*command, "--conf", "spark.ui.enabled=true")
        assert said.code == 95
        assert "spark.ui.enabled=true would weaken the protection" in said.err
    said = clinic("image", "build", "plain.py", "--profile", "python", "--conf", "spark.x=1")
    assert (said.code, "profile python" in said.err) == (64, True)
    said = clinic("image", "build", "plain.py", "--conf", "spark.x")
    assert (said.code, "NAME=VALUE" in said.err) == (64, True)


def test_a_jar_needs_a_class_and_nothing_else_has_one(clinic):
    for name in ("app.jar", "app.py"):
        (clinic.folder / name).write_bytes(b"")
    for arguments in (("app.jar",), ("app.py", "--class", "a.B"), ("app.sql", "--class", "a.B")):
        said = clinic("image", "build", *arguments)
        assert said.code == 64
    said = clinic("image", "build", "app.py", "--profile", "python", "--jars", "app.jar")
    assert (said.code, "programs of Spark and Flink, and this one has profile python" in said.err) == (
        64,
        True,
    )


def test_byte_code_alone_makes_a_difference(clinic):
    byte_code = "app/__pycache__/helper.cpython-311.pyc"
    make_image(clinic.folder / "one", {"app/helper.py": b"pass\n", byte_code: b"honest"})
    make_image(clinic.folder / "two", {"app/helper.py": b"pass\n", byte_code: b"forged"})
    make_image(clinic.folder / "three", {"app/helper.py": b"2\n", byte_code: b"of it"})
    said = clinic("image", "diff", "one", "two")
    assert (said.code, said.out) == (1, f"/{byte_code} changed\n")
    assert clinic("image", "diff", "one", "three").out == "/app/helper.py changed\n"


def test_the_grammar_is_shown_as_it_is(clinic):
    make_image(clinic.folder / "image", {"app/job.py": b""}, args=("--name=[a-z]*", "[/bold]"))
    assert "--name=[a-z]*, [/bold]" in clinic.ok("image", "show", "image").out


def test_names_in_the_audit_log_are_shown_as_they_are(clinic):
    from confide.broker.home import Home

    from .conftest import PASSPHRASE

    with Home.open(clinic.home, PASSPHRASE.encode()) as home:
        home.store.audit.append({"kind": "refusal", "owners": ["[conceal]x[/conceal]", "[/]", "\x1b[2K"]})
    said = clinic.ok("audit")
    assert "[conceal]x[/conceal], [/], \\x1b[2K" in said.out
    assert "\x1b" in json.loads(clinic.ok("audit", "--json").out)[-1]["owners"][2]


def test_control_characters_are_spelled_out():
    assert plain("a\x1b[2K\rb\tc\x9bd\n") == "a\\x1b[2K\\x0db\\x09c\\x9bd\n"


def test_a_program_with_dependencies_is_locked_first(clinic):
    program = clinic.folder / "job.py"
    program.write_text('# /// script\n# dependencies = ["humanize"]\n# ///\n')
    said = clinic("image", "build", "job.py", "--profile", "python")
    assert said.code == 69
    assert "hint: `confide image lock job.py`" in said.err
    program.write_text("print()\n")
    assert clinic("image", "lock", "job.py").code == 64  # nothing to lock
    assert clinic("image", "lock", "absent.py").code == 64
    program.write_text('# /// script\n# dependencies = ["humanize @ file:///x.whl"]\n# ///\n')
    assert clinic("image", "lock", "job.py").code == 66


def test_the_difference_as_json(clinic):
    one = make_image(clinic.folder / "one", {"app/job.py": b"1\n"})
    two = make_image(clinic.folder / "two", {"app/job.py": b"2\n"})
    said = clinic("image", "diff", "one", "two", "--json")
    assert said.code == 1
    assert json.loads(said.out) == {"older": one, "newer": two, "differences": ["/app/job.py changed"]}


def test_the_cache_is_listed_and_emptied(confide, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(confide.folder / "cache"))
    assert json.loads(confide.ok("image", "list", "--json").out)["images"] == []
    cache = confide.folder / "cache/confide"
    made = make_image(cache / "images/new", {"app/job.py": b"x" * 100_000})
    (cache / "images/new").rename(cache / "images" / made)
    (cache / "images/unfinished").mkdir()
    (cache / "layers").mkdir()
    (cache / "layers/app").hardlink_to(cache / "images" / made / "root/app/job.py")
    listed = json.loads(confide.ok("image", "list", "--json").out)
    assert [image["measurement"] for image in listed["images"]] == [made]
    assert 100_000 <= listed["bytes"] < 150_000  # linked, so counted once
    assert made in confide.ok("image", "list").out
    assert json.loads(confide.ok("image", "prune", "--json").out)["bytes"] == listed["bytes"]
    assert not list(cache.iterdir())


def test_a_program_that_a_library_os_cannot_run_is_refused_before_anything_is_built(clinic):
    program = clinic.folder / "functions.py"
    program.write_text("from pyspark.sql.functions import udf\n")
    said = clinic("image", "build", "functions.py", "--libos", "gramine")
    assert said.code == 66
    assert "line 1: udf" in said.err
    assert "confidential VM" in said.err


def test_a_library_os_that_there_is_not(clinic):
    said = clinic("image", "build", "py.py", "--libos", "wine")
    assert said.code == 64
    assert "gramine, occlum" in said.err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--tee", "tdx", "--libos", "gramine"), "programs need none"),
        (("--tee", "simulated", "--libos", "gramine", "--guest", "guest"), "give one"),
    ],
)
def test_a_library_os_where_it_does_not_belong(clinic, options, word):
    said = clinic("run", *options, "job.py")
    assert said.code == 64
    assert word in said.err


@pytest.mark.parametrize(
    "option",
    [
        ("--local-workers", "1"),
        ("--worker-cores", "1"),
        ("--host", "127.0.0.1"),
        ("--executor-image", "image"),
    ],
)
def test_options_of_executors_where_there_are_none(clinic, option):
    said = clinic("run", "--tee", "simulated", *option, "job.py")
    assert said.code == 64
    assert f"{option[0]} is of executors" in said.err


def test_executors_with_two_brokers(clinic):
    brokers = ("--broker", "https://a:1", "--broker", "https://b:1")
    said = clinic("run", "--tee", "simulated", "--workers", "2", *brokers, "job.py")
    assert said.code == 64
    assert "a job has one broker" in said.err


@pytest.mark.skipif(any(path.exists() for path in SGX_DEVICES), reason="this machine has SGX")
@pytest.mark.parametrize("libos", [(), ("--libos", "gramine")])
def test_an_enclave_where_there_is_no_sgx(clinic, libos):
    said = clinic("run", "--tee", "sgx", *libos, "job.py")
    assert (said.code, "no SGX" in said.err) == (74, True)


def test_an_image_that_is_not_signed(clinic):
    make_image(clinic.folder / "image", {"app/job.py": b"print()\n"})
    said = clinic("image", "measure", "image")
    assert (said.code, "confide image sign" in said.err) == (66, True)


def test_a_key_that_is_none(clinic, tmp_path):
    (tmp_path / "author.pem").write_text("no key")
    said = clinic("image", "sign", str(tmp_path), "--key", str(tmp_path / "author.pem"))
    assert said.code != 0
    assert "no private key" in said.err


def test_what_occlum_is_told_of_an_image(clinic):
    make_image(clinic.folder / "image", {"app/job.py": b"print()\n"})
    assert clinic("image", "render", "image", "--libos", "occlum", "-o", "occlum").code == 0
    told = json.loads((clinic.folder / "occlum/Occlum.json").read_text())
    assert told["metadata"]["debuggable"] is False
    assert told["entry_points"] == ["/opt/confide/start"]
    assert (clinic.folder / "occlum/bom.yaml").is_file()
    assert (clinic.folder / "occlum/start").read_bytes().startswith(b"#!/")
    assert clinic("image", "render", "image", "--libos", "occlum", "-o", "occlum").code == 68
    (clinic.folder / "image/root/app/job.py").write_bytes(b"steal()\n")
    assert clinic("image", "render", "image", "--libos", "occlum", "-o", "other").code == 91
