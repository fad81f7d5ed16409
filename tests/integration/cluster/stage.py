"""A job whose driver waits for two executors, and an operator who starts what it likes on its own machine."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confide.broker.client import KbsClient
from confide.broker.mesh_member import MeshIdentity, join_mesh
from confide.enclave.attester import stated_image
from confide.enclave.run import Enclave, RunRequest, start
from confide.enclave.simulated.host import host_key
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import ConfideError
from confide.jvm.jar import spark_jars
from confide.jvm.stores import write_stores
from confide.spark import jvm

EXECUTOR_CLASS = "org.apache.spark.executor.CoarseGrainedExecutorBackend"


class Stage:
    """Attributes:
    site: the operator's machine.
    owner: whose policy allows driver and executor.
    driver: the waiting driver.
    job: what it said of its job: `job`, `driver`, `application`.
    """

    def __init__(self, site: Any, owner: Any, driver: Enclave, job: Mapping[str, str]) -> None:
        self.site, self.owner, self.driver, self.job = site, owner, driver, job
        self._stack = contextlib.ExitStack()
        self._numbers = iter(range(100, 1000))
        self.codes: dict[str, int] = {}

    def request(self, number: str | None = None, **changes: Any) -> RunRequest:
        """Return how an executor is started as it should be, with some launch parameters changed."""
        image = changes.pop("image", self.site.executor_folder)
        launch = {
            "mesh_job": self.job["job"],
            "mesh_member": number or str(next(self._numbers)),
            "driver": self.job["driver"],
            "application": self.job["application"],
            "host": "127.0.0.1",
            "cores": "1",
        }
        launch = {name: value for name, value in {**launch, **changes}.items() if value is not None}
        return self.site.request(image=image, launch=launch)

    def attempt(self, request: RunRequest) -> ConfideError:
        """Start an executor that must fail, tell the driver what the runner tells it, and return why."""
        number = request.launch["mesh_member"]
        try:
            with start(request) as enclave:
                code = enclave.wait()
        except ConfideError as error:
            self.driver.say(f"executor {number} ended: {type(error).__name__}: {error}")
            return error
        raise AssertionError(f"executor {number} was let in and ended with {code}")

    def begin(self, request: RunRequest) -> None:
        """Start an executor that is let in; it runs until the job ends."""
        ready = threading.Event()

        def told(status: Mapping[str, Any]) -> None:
            if status["state"] == "started":
                ready.set()

        def attend() -> None:
            with start(request) as enclave:
                self.codes[request.launch["mesh_member"]] = enclave.wait(told)

        thread = threading.Thread(target=attend, daemon=True)
        thread.start()
        self._stack.callback(thread.join, 60)
        assert ready.wait(200)

    def settled(self, sent: list[bytes]) -> None:
        """Wait until an executor behind a recorder has said what it has to say to register."""
        deadline, before = time.monotonic() + 120, -1
        while time.monotonic() < deadline:
            total = sum(map(len, sent))
            if len(sent) >= 3 and total == before:  # its agent, its question for settings, its registration
                return
            before = total
            time.sleep(3)
        raise AssertionError(f"no registration: {list(map(len, sent))}")

    def finish(self) -> None:
        """Wait for the executors that were let in."""
        self._stack.close()

    def another_job(self) -> MeshIdentity:
        """Open another job of the same program, as its driver's agent would."""
        (served,) = self.site.brokers.values()
        stated = stated_image(self.site.image)
        issuer = SimulatedIssuer(host_key(self.site.host), stated)
        client = KbsClient(served.url, served.ca.encode())
        with contextlib.closing(client):
            session = client.attest("simulated", lambda data: issuer.issue(data.report_data()), {}, stated)
            return join_mesh(session, served.ca.encode(), "driver", session.release())

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes to the driver and return its answer, once it has closed the connection or is silent."""
        answer = b""
        with socket.create_connection(address(self.job["driver"]), 30) as connection:
            connection.settimeout(5)
            with contextlib.suppress(OSError):
                connection.sendall(sent)
                while data := connection.recv(65536):
                    answer += data
        return answer

    def stock_executor(self, identity: MeshIdentity, trusted: bytes) -> str:
        """Run Spark's own executor outside any enclave, with this identity's key and secret; return what it said."""
        folder = self.site.root / "stolen"
        folder.mkdir()
        stores = write_stores(dataclasses.replace(identity, authority=_certificate(trusted)), folder)
        properties = {
            "spark.authenticate": "true",
            "spark.authenticate.secret": identity.secret,
            "spark.ssl.rpc.enabled": "true",
            "spark.ssl.rpc.protocol": "TLSv1.3",
            "spark.ssl.rpc.keyStore": stores.key,
            "spark.ssl.rpc.trustStore": stores.trust,
            **{
                f"spark.ssl.rpc.{name}": identity.secret
                for name in ("keyStorePassword", "keyPassword", "trustStorePassword")
            },
        }
        arguments = {
            "driver-url": f"spark://CoarseGrainedScheduler@{self.job['driver']}",
            "executor-id": "66",
            "bind-address": "127.0.0.1",
            "hostname": "127.0.0.1",
            "cores": "1",
            "app-id": self.job["application"],
        }
        argv = [shutil.which("java"), *jvm.MODULE_OPTIONS, *(f"-D{n}={v}" for n, v in properties.items())]
        argv += ["-cp", ":".join(map(str, spark_jars())), EXECUTOR_CLASS]
        argv += [word for name, value in arguments.items() for word in (f"--{name}", value)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert done.returncode != 0
        return done.stdout + done.stderr

    def releases(self) -> int:
        """Return how often executors received keys."""
        entries = self.owner.store.audit.entries(kind="release")
        return sum(entry.fields["role"] == "executor" for entry in entries)


def address(text: str) -> tuple[str, int]:
    """Return host and port."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def _certificate(der: bytes) -> Any:
    from cryptography import x509

    return x509.load_der_x509_certificate(der)


@contextlib.contextmanager
def recorder(target: str) -> Iterator[tuple[str, list[bytes]]]:
    """Forward TCP connections to `target`; yield where, and what each client sent."""
    sent: list[bytes] = []

    def pump(source: socket.socket, sink: socket.socket, index: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if index is not None:
                    sent[index] += data
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(address(target), 30)
                sent.append(b"")
                for each in ((client, server, len(sent) - 1), (server, client, None)):
                    threading.Thread(target=pump, args=each, daemon=True).start()

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", sent


@contextlib.contextmanager
def listener(serve: Any) -> Iterator[str]:
    """Listen, and hand each connection to `serve` in a thread; yield where."""

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = sock.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as sock:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"


def altered(image: Path, folder: Path, inside: str, content: bytes) -> Path:
    """Copy an image folder (as links) with one file replaced, and return it."""
    shutil.copytree(image, folder, copy_function=_link)
    path = folder / "root" / inside
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o444)
    return folder


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def found(pattern: str, log: str) -> bool:
    """Return whether a line of the log matches."""
    return any(re.search(pattern, line) for line in log.splitlines())
