"""What runs in a simulated enclave sees its image, its scratch space and the data root, and nothing else."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from confide.attestation.report_data import report_data
from confide.attestation.simulated import SimulatedStatement
from confide.enclave.image import measurement
from confide.enclave.simulated.host import host_id, host_key
from confide.errors import LaunchRefused, MissingDependency, Misuse, Unavailable

from .conftest import Enclave

Probe = Callable[..., Enclave]


def test_first_process_sees_only_the_image(probe: Probe) -> None:
    enclave = probe("import os\nsay(state='seen', top=sorted(os.listdir('/')), uid=os.getuid())")
    assert enclave.run() == 0
    usual = {"app", "dev", "etc", "lib", "lib64", "opt", "proc", "run", "scratch", "tmp", "usr", "work"}
    assert set(enclave.told("top")) <= usual
    assert enclave.told("uid") == 1000


def test_host_environment_does_not_get_in(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = secrets.token_hex(16)
    for name in ("CANARY", "PYTHONPATH", "LD_PRELOAD_NOT", "JAVA_TOOL_OPTIONS"):
        monkeypatch.setenv(name, canary)
    enclave = probe(
        "import os, pathlib\n"
        "env = pathlib.Path('/proc/self/environ').read_text()\n"
        "all_ = ''.join(p.read_text(errors='replace') for p in pathlib.Path('/proc').glob('[0-9]*/environ')"
        " if os.access(p, os.R_OK))\n"
        "say(state='seen', env=dict(os.environ), raw=env + all_)"
    )
    assert enclave.run() == 0
    assert canary not in enclave.told("raw")
    assert enclave.told("env").keys() - {"PWD"} == enclave.image.env.keys()


def test_host_files_and_processes_cannot_be_seen(probe: Probe, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("host only")
    enclave = probe(
        "import os\n"
        f"say(state='seen', secret=os.path.exists({str(secret)!r}), key=os.path.exists({str(tmp_path)!r}),\n"
        "    pids=[p for p in os.listdir('/proc') if p.isdigit()])"
    )
    assert enclave.run() == 0
    assert enclave.told("secret") is False
    assert enclave.told("key") is False
    assert set(enclave.told("pids")) == {"1", "2"}


@pytest.mark.parametrize("path", ["/x", "/app/x", "/dev/x", "/etc/x", "/opt/confide/site/x.py", "/run/x"])
def test_nothing_but_scratch_and_data_root_is_writable(probe: Probe, path: str) -> None:
    enclave = probe(
        "import errno\n"
        "try:\n"
        f"    open({path!r}, 'w')\n"
        "    say(state='seen', error='none')\n"
        "except OSError as error:\n"
        "    say(state='seen', error=errno.errorcode[error.errno])"
    )
    assert enclave.run() == 0
    assert enclave.told("error") in ("EROFS", "EACCES")


def test_scratch_has_its_size(probe: Probe) -> None:
    program = (
        "import errno\n"
        "try:\n"
        "    with open('/scratch/big', 'wb') as f: f.write(bytes(3 << 20))\n"
        "    say(state='seen', error='none')\n"
        "except OSError as error:\n"
        "    say(state='seen', error=errno.errorcode[error.errno])"
    )
    small = probe(program)
    assert small.run() == 0
    assert small.told("error") == "ENOSPC"
    large = probe(program)
    assert large.run(scratch_mib=4) == 0
    assert large.told("error") == "none"


ASKING = """
import hashlib, json, socket
channel = socket.socket(fileno=boot["evidence"])
image = {"measurement": hashlib.sha256(open("/run/image.json", "rb").read()).hexdigest(), "role": "driver", "svn": 0}
key = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": "A" * 43, "y": "A" * 43}
runtime = {"nonce": "n", "tee-pubkey": key, "image": image, "launch": {}}
def ask(line):
    channel.sendall(line)
    return json.loads(channel.makefile("rb").readline() or b"null")
"""


def test_evidence_is_for_the_verified_image_and_the_asked_runtime_data(probe: Probe) -> None:
    enclave = probe(
        ASKING + "say(state='seen', runtime=runtime, answer=ask(json.dumps(runtime).encode() + b'\\n'))"
    )
    assert enclave.run() == 0
    payload = enclave.told("answer")["evidence"]["payload"]
    statement = SimulatedStatement.parse(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert statement.measurement == measurement(enclave.image) == enclave.told("measurement")
    assert base64.b64decode(statement.report_data) == report_data(enclave.told("runtime"))
    assert statement.host == host_id(host_key(enclave.home))


@pytest.mark.parametrize(
    "change",
    [
        "image['measurement'] = '0' * 64",
        "image['role'] = 'executor'",
        "image['svn'] = 9",
        "del runtime['image']",
    ],
)
def test_no_evidence_for_another_image_than_was_started(probe: Probe, change: str) -> None:
    enclave = probe(
        f"{ASKING}\n{change}\nsay(state='seen', answer=ask(json.dumps(runtime).encode() + b'\\n'))"
    )
    assert enclave.run() == 0
    assert enclave.told("answer") == {"refused": "the agent states another image than was started"}


@pytest.mark.parametrize("line", ["b'nonsense\\n'", "bytes(64) + b'\\n'", "b'{}\\n'", "b'[' * 9999 + b'\\n'"])
def test_requests_that_are_no_runtime_data_get_no_evidence(probe: Probe, line: str) -> None:
    enclave = probe(f"{ASKING}say(state='seen', answer=ask({line}))")
    assert enclave.run() == 0
    assert list(enclave.told("answer")) == ["refused"]


def test_a_request_without_end_gets_no_answer(probe: Probe) -> None:
    enclave = probe(
        f"{ASKING}\ntry:\n    answer = ask(b'x' * 2**20)\nexcept OSError:\n    answer = None\n"
        "say(state='seen', answer=answer)"
    )
    assert enclave.run() == 0
    assert enclave.told("answer") is None


def test_argument_outside_the_grammar_never_starts(probe: Probe) -> None:
    enclave = probe("raise SystemExit", args=("--year=20[0-9]{2}",))
    with pytest.raises(LaunchRefused, match="declares"):
        enclave.run(arguments=["--year=1999"])
    assert enclave.said == []


def test_arguments_reach_the_first_process_as_given(probe: Probe) -> None:
    enclave = probe("say(state='seen', launch=boot['launch'])", args=("--name=.*",))
    assert enclave.run(arguments=["--name=a b'c", "--name="]) == 0
    assert enclave.told("launch")["args"] == """'--name=a b'"'"'c' --name="""


@pytest.mark.parametrize(("tee", "error"), [("", Misuse), ("none", Misuse), ("sgx", MissingDependency)])
def test_another_tee_is_refused(probe: Probe, tee: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        probe("").run(tee=tee)


def test_end_without_a_word_is_told_with_what_was_said(probe: Probe) -> None:
    with pytest.raises(Unavailable, match=r"ended with code 9.*so it goes"):
        probe("import os, sys\nprint('so it goes', file=sys.stderr, flush=True)\nos._exit(9)").run()


def _runner(enclave: Enclave) -> subprocess.Popen[bytes]:
    code = (
        "import sys, json, pathlib, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored\n"
        "from confide.enclave.run import RunRequest, run\n"
        "image, home, data = map(pathlib.Path, sys.argv[1:])\n"
        "request = RunRequest(image, 'simulated', home, {'local': 'https://127.0.0.1:1'}, data)\n"
        "run(request, lambda status: print(json.dumps(status), flush=True))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(enclave.folder), str(enclave.home), str(enclave.data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _alive(marker: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_runner_that_is_signalled_leaves_no_process(probe: Probe, sign: signal.Signals) -> None:
    marker = secrets.token_hex(16)
    enclave = probe(
        "import subprocess, sys, time\n"
        f"command = [sys.executable, '-c', 'import time; time.sleep(600)', '{marker}']\n"
        "children = [subprocess.Popen(command), subprocess.Popen(command, start_new_session=True)]\n"
        "say(state='waiting')\n"
        "control.recv(1)\n"  # the runner's wish to stop
    )
    runner = _runner(enclave)
    assert runner.stdout is not None
    assert any(json.loads(line)["state"] == "waiting" for line in runner.stdout)
    assert _alive(marker)
    runner.send_signal(sign)
    runner.wait(30)
    while _alive(marker):  # bounded by the suite's own timeout
        time.sleep(0.02)
    runner.stdout.close()
    assert runner.returncode != 0


def test_workload_sandbox_hides_data_root_and_agent(probe: Probe) -> None:
    enclave = probe(
        "import os, subprocess, sys\n"
        "sys.path.insert(0, '/opt/confide/site')\n"
        "from confide.enclave.workload_sandbox import sandbox_prefix\n"
        "from pathlib import Path\n"
        "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
        "os.mkdir('/scratch/home')\n"
        "code = '''\n"
        "import os, json\n"
        "def attempt(f):\n"
        "    try: return str(f())\n"
        "    except OSError as e: return type(e).__name__\n"
        "print(json.dumps({'work': os.listdir('/work'), 'run': os.path.exists('/run/confide'),\n"
        "  'root': attempt(lambda: os.listdir('/proc/1/root')),\n"
        "  'agent': attempt(lambda: os.listdir('/proc/2/root')),\n"
        "  'mem': attempt(lambda: open('/proc/2/mem')), 'fd': attempt(lambda: open('/proc/2/fd/0')),\n"
        "  'write': attempt(lambda: open('/work/x', 'w')), 'app': attempt(lambda: open('/app/x', 'w'))}))\n"
        "'''\n"
        "prefix = sandbox_prefix({'/scratch': Path('/scratch/home')})\n"
        "done = subprocess.run([*prefix, sys.executable, '-c', code], capture_output=True, text=True)\n"
        "say(state='seen', out=done.stdout, err=done.stderr)\n",
        distributions=("confide",),
    )
    (enclave.data / "patients").write_text("encrypted")
    assert enclave.run() == 0
    seen = json.loads(enclave.told("out") or enclave.told("err"))
    assert seen == {
        "work": [],
        "run": False,
        "root": "PermissionError",
        "agent": "PermissionError",
        "mem": "PermissionError",
        "fd": "PermissionError",
        "write": "OSError",
        "app": "OSError",
    }
