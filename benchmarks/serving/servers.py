"""The servers, ours and the peers', each started with the same model; peers in environments of their own."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.redis_server import Redis

from benchmarks.owner import CONFIDE, KEY, Owner
from benchmarks.process import CommandFailed
from confide.broker.ca import CertificateAuthority

PEERS = Path(__file__).parent / "peers"
_ROOT = Path(__file__).parents[2]
_START_S = 120.0
_ENVIRONMENTS: Mapping[str, tuple[str, ...]] = {
    "fastapi": ("fastapi", "uvicorn[standard]", "onnxruntime"),
    "mlserver": ("mlserver", "onnxruntime"),
    "litserve": ("litserve", "onnxruntime"),
    "bentoml": ("bentoml", "onnxruntime"),
    "ray": ("ray[serve]", "onnxruntime"),
}


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        pid: of the first of its processes.
        url: without a path.
        path: that requests go to.
        form: of requests (`load.maker`).
        more: what the load needs besides.
    """

    pid: int
    url: str
    path: str
    form: str
    more: Mapping[str, str]


@contextmanager
def ours(owner: Owner, model: str = "mlp") -> Iterator[Running]:
    """Serve the owner's `model.onnx` by `confide serve`, on one core.

    Requests in clear are allowed, so that they can be measured too.
    """
    (owner.folder / "serving.toml").write_text(
        f'version = 1\nmodels = ["{model}.onnx"]\nplain_requests = true\nrate_per_s = 1000000\nburst = 1000000\n'
    )
    shutil.copy(owner.folder / "model.onnx", owner.folder / f"{model}.onnx")
    owner.confide(
        "policy", "allow", "serving.toml", "--profile", "serving", "--requests", KEY, "--cores", "1"
    )
    owner.confide("policy", "apply", "policy.toml")
    accepted = owner.folder / "accepted.toml"
    accepted.write_text(owner.confide("serving", "accept", "serving").output)
    with _serving(owner, "--tee", "simulated", "serving.toml", "--listen", "127.0.0.1:0", "--cores", "1") as (
        pid,
        url,
    ):
        yield Running(
            pid, url, f"/v2/models/{model}/infer", "plain", {"accepted": str(accepted), "model": model}
        )


@contextmanager
def over_queue(owner: Owner, redis: Redis) -> Iterator[Running]:
    """Serve by one worker over a queue; the front end is another process, for evidence alone."""
    with ours(owner) as alone:
        accepted = alone.more["accepted"]
    worker = ("--tee", "simulated", "serving.toml", "--cores", "1", "--no-front-end", *redis.options())
    front = ("--front-end", "--listen", "127.0.0.1:0", *redis.options())
    with _serving(owner, *worker) as (pid, _), _serving(owner, *front) as (_, url):
        more = {
            "accepted": accepted,
            "front_ca": str(owner.home / "front-end-ca.pem"),
            "queue": redis.url(),
            "password": str(redis.folder / "password"),
            "ca": str(redis.folder / "ca.pem"),
        }
        yield Running(pid, url, "/v2/models/mlp/infer", "sealed", more)


@contextmanager
def _serving(owner: Owner, *options: str) -> Iterator[tuple[int, str]]:
    """Run `confide serve` until it is ready, and yield its process and URL."""
    command: list[str | Path] = [CONFIDE, "--home", owner.home, "--passphrase-fd", str(owner.passphrase_fd)]
    with _started([*command, "serve", *options], owner.folder, pass_fds=[owner.passphrase_fd]) as process:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if found := re.match(r"ready: ([^\s,]+)", line):
                yield process.pid, found[1]
                return
        raise CommandFailed(f"confide serve did not start:\n{said[-2000:]}")


@contextmanager
def peer(name: str, folder: Path) -> Iterator[Running]:
    """Serve by one of the peers."""
    python = _environment(name)
    port = _free_port()
    url, more = f"http://127.0.0.1:{port}", dict[str, str]()
    script = PEERS / f"{name}_app.py"
    match name:
        case "fastapi":
            url, path, form = f"https://127.0.0.1:{port}", "/infer", "raw"
            more["ca"] = _certificates(folder)
            command = [python, "-m", "uvicorn", "fastapi_app:app", "--app-dir", PEERS, "--port", str(port)]
            command += ["--ssl-keyfile", "leaf.pem", "--ssl-certfile", "leaf.pem", "--no-access-log"]
            command += ["--log-level", "error"]
        case "mlserver":
            path, form = "/v2/models/mlp/infer", "oip-json"
            shutil.copy(PEERS / "mlserver_model.py", folder)
            settings = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port()}
            settings |= {"parallel_workers": 0, "debug": False}
            (folder / "settings.json").write_text(json.dumps(settings))
            model = {"name": "mlp", "implementation": "mlserver_model.Mlp"}
            model |= {"max_batch_size": 64, "max_batch_time": 0.002}
            (folder / "model-settings.json").write_text(json.dumps(model))
            command = [python.with_name("mlserver"), "start", "."]
        case "litserve":
            path, form = "/predict", "json"
            command = [python, script, str(port)]
        case "bentoml":
            path, form = "/infer", "json"
            shutil.copy(script, folder)
            command = [python.with_name("bentoml"), "serve", "bentoml_app:Mlp", "--port", str(port), "-q"]
        case "ray":
            path, form = "/", "json"
            command = [python, script, str(port), folder / "model.onnx"]
        case _:
            raise CommandFailed(f"no peer called {name}")
    with _started(command, folder) as process:
        _wait_for(process, port)
        yield Running(process.pid, url, path, form, more)


def _environment(name: str) -> Path:
    """Return the interpreter of a peer's environment, made with uv on first use."""
    folder = _ROOT / ".local/bench" / name
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        uv = shutil.which("uv") or str(_ROOT / ".local/uv/bin/uv")
        for command in (
            [uv, "venv", "-q", "--clear", "--python", sys.executable, folder],
            [uv, "pip", "install", "-q", "--python", python, *_ENVIRONMENTS[name]],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CommandFailed(f"{name}: its environment could not be made:\n{done.stderr[-2000:]}")
        (folder / "complete").touch()
    return python


@contextmanager
def _started(
    command: Sequence[str | Path], folder: Path, pass_fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        pass_fds=pass_fds,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if pass_fds else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "BENTOML_DO_NOT_TRACK": "true", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    try:
        yield process
    finally:
        for end in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, end)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _wait_for(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            time.sleep(2)  # some listen before their workers do
            return
        time.sleep(0.1)
    raise CommandFailed(f"the server did not start on port {port}")


def _certificates(folder: Path) -> str:
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    authority = CertificateAuthority.create(now)
    (folder / "leaf.pem").write_bytes(authority.issue_leaf(["127.0.0.1"], now))
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    return str(folder / "ca.pem")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
