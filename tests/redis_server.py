"""A Redis of the tests' own: Debian's program, a temporary folder, TLS 1.3 and users of an ACL on a free port."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from confide.broker.ca import CertificateAuthority
from confide.serving.redis_link import RedisLink

PASSWORD = "a password of the tests"
_CONFIGURATION = """
port 0
bind 127.0.0.1
tls-port {port}
tls-cert-file {folder}/server.pem
tls-key-file {folder}/server.pem
tls-ca-cert-file {folder}/ca.pem
tls-auth-clients no
tls-protocols TLSv1.3
dir {folder}
appendonly yes
appendfsync always
maxmemory-policy noeviction
save ""
aclfile {folder}/users.acl
"""
FRONT_END = (
    "~confide:* &confide:* +ping +config|get +acl|dryrun +info +eval +hmget +hset +pexpire +xlen +xadd +exists "
    "+subscribe +unsubscribe"
)
WORKER = (
    "~confide:* &confide:* +ping +config|get +acl|dryrun +eval +hmget +hset +pexpire +set +publish "
    "+xgroup|create +xgroup|delconsumer +xinfo|consumers +xreadgroup +xpending +xclaim +xack +xdel"
)
"""What docs/serving.md says that the two users need, and no more."""


class Redis:
    """A server, killed and started at will; its address stays the same.

    Attributes:
        folder: everything it has.
        port: for TLS.
        authority: signed its certificate, for `localhost`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.authority = CertificateAuthority.create(int(time.time()))
        (folder / "ca.pem").write_bytes(self.authority.certificate_pem)
        (folder / "server.pem").write_bytes(self.authority.issue_leaf(["localhost"], int(time.time())))
        (folder / "redis.conf").write_text(_CONFIGURATION.format(port=self.port, folder=folder))
        users = {
            "front": FRONT_END,
            "worker": WORKER,
            "pool": f"{FRONT_END} {WORKER}",
            "operator": "~* &* +@all",
        }
        lines = [f"user {name} on >{PASSWORD.replace(' ', '_')} {rules}" for name, rules in users.items()]
        (folder / "users.acl").write_text(
            "\n".join(["user default off resetpass ~* &* +@all", *lines]) + "\n"
        )
        (folder / "password").write_text(PASSWORD.replace(" ", "_") + "\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *settings: str) -> None:
        """Start, and wait until it serves; settings: `--name value`, ..."""
        with (self.folder / "log").open("ab") as log:
            argv = ["redis-server", str(self.folder / "redis.conf"), *settings]
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        for _ in range(400):
            with contextlib.suppress(redis.RedisError), self.operator() as client:
                client.ping()
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None

    def operator(self) -> redis.Redis:
        """Return a client of somebody who may do everything: the operator."""
        return redis.Redis(
            host="localhost",
            port=self.port,
            username="operator",
            password=PASSWORD.replace(" ", "_"),
            ssl=True,
            ssl_ca_certs=str(self.folder / "ca.pem"),
            protocol=2,
        )

    def url(self, user: str = "pool") -> str:
        return f"rediss://{user}@localhost:{self.port}"

    def link(self, user: str = "pool") -> RedisLink:
        return RedisLink.parse(self.url(user), self.folder / "password", self.folder / "ca.pem")

    def options(self, user: str = "pool") -> list[str]:
        """Return the options of `confide serve`."""
        files = ["--queue-password", str(self.folder / "password"), "--queue-ca", str(self.folder / "ca.pem")]
        return ["--queue", self.url(user), *files]


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """Run a server of its own for the block; skip the test where Redis is not installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs Debian's package redis-server: CONFIDE_TEST_TOOLS=1 scripts/setup.sh")
    server = Redis(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
