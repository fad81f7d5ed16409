"""A PostgreSQL server of the tests' own: Debian's programs, a temporary folder, a Unix socket, TLS on a free port."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from confide.broker.ca import CertificateAuthority

USER, PASSWORD = "confide", "a password of the tests"
_ADMIN = "postgres"
_CONFIGURATION = """
fsync = off                # the tests kill programs, not machines
listen_addresses = '127.0.0.1'
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.pem'
password_encryption = 'scram-sha-256'
shared_buffers = 16MB
max_connections = 40
log_min_messages = 'warning'
"""
_ACCESS = """
local   all postgres trust
local   all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
"""


def programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs; None without."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    return Path(other).parent if other else None


class Postgres:
    """A server, stopped and started at will; its address stays the same.

    Attributes:
        folder: everything it has, the socket too.
        port: for TLS; also part of the socket's name.
        authority: signed the certificate for `localhost`.
        log: what it said.
    """

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder, self._binaries = folder, binaries
        self.port = _free_port()
        self.log = folder / "log"
        self._numbers = itertools.count()
        self._server: subprocess.Popen[bytes] | None = None
        self.authority = CertificateAuthority.create(int(time.time()))
        (folder / "ca.pem").write_bytes(self.authority.certificate_pem)
        (folder / "passfile").write_text(f"*:*:*:{USER}:{PASSWORD}\n")
        (folder / "passfile").chmod(0o600)
        self.log.touch()
        data = folder / "data"
        _give(folder)
        options = ["-D", data, "-U", _ADMIN, "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync"]
        _check(self._command("initdb", options))
        with (data / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION)
        (data / "pg_hba.conf").write_text(_ACCESS)
        self.present(["localhost"])

    def present(self, names: Sequence[str], authority: CertificateAuthority | None = None) -> None:
        """Make the server's certificate; it shows it from the next start on."""
        pem = self.folder / "data/server.pem"
        pem.write_bytes((authority or self.authority).issue_leaf(names, int(time.time())))
        pem.chmod(0o600)
        _give(pem)

    def start(self, *settings: str) -> None:
        """Start, and wait until it serves. Settings: `name=value`."""
        options = ["-D", self.folder / "data", "-k", self.folder, "-p", str(self.port)]
        for setting in settings:
            options += ["-c", setting]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(self._command("postgres", options), stdout=log, stderr=log)
        for _ in range(200):
            with contextlib.suppress(psycopg.OperationalError):
                self.run("SELECT 1")
                return
            assert self._server.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT ends connections in good order, SIGQUIT leaves at once as a crash does."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(30)
            self._server = None

    def run(self, statement: str, database: str = "postgres", *values: object) -> list[tuple]:
        """Run a statement as the database's administrator; return its rows, or the number of rows changed."""
        with psycopg.connect(self.url(database, user=_ADMIN), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]

    def new_database(self) -> str:
        """Make an empty database; return its name."""
        name = f"store_{next(self._numbers)}"
        if not self.run("SELECT 1 FROM pg_roles WHERE rolname = %s", "postgres", USER):
            self.run(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        self.run(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE template0")
        return name

    def url(self, database: str, user: str = USER) -> str:
        """Return the URL through the Unix socket."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    def tls_url(self, database: str, host: str = "localhost", **parameters: str | Path) -> str:
        """Return the URL over TLS; parameters take the place of the password file, the authority, ..."""
        given = {"sslrootcert": self.folder / "ca.pem", "passfile": self.folder / "passfile", **parameters}
        query = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return f"postgresql://{USER}@{host}:{self.port}/{database}?hostaddr=127.0.0.1&{query}"

    def _command(self, program: str, options: Sequence[object]) -> list[str]:
        drop = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        )
        return [*drop, str(self._binaries / program), *map(str, options)]


@contextlib.contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Run a server of its own for the block; skip the test where PostgreSQL is not installed."""
    binaries = programs()
    if binaries is None:
        pytest.skip("needs Debian's package postgresql: CONFIDE_TEST_TOOLS=1 scripts/setup.sh")
    folder = Path(
        tempfile.mkdtemp(prefix="confide-pg-")
    )  # pytest's own folders are closed to the server's user
    try:
        server = Postgres(folder, binaries)
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)


def _check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
