"""A workload that is a server of Spark itself: clients send the queries, and are known by their tokens."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from confide.broker.release import Release
from confide.broker.rules import left_s
from confide.enclave.processes import Process, Program
from confide.enclave.profile import Context
from confide.errors import BrokerUnavailable, ConfideError, Refused, Unavailable
from confide.jvm.settings import Settings
from confide.spark import jvm, server_settings
from confide.spark.installation import Installation
from confide.spark.pair import stop
from confide.spark.server_configuration import Kind, ServerConfiguration
from confide.spark.server_identity import make_chain
from confide.spark.server_store import certificates, write_key_store
from confide.spark.tokens import released_tokens

LAUNCH = {"listen": rf"{server_settings.NAME}:[0-9]{{1,5}}", "names": server_settings.NAMES}
"""Launch parameters of a server: where it listens, and names by which clients call it."""

REFRESH_S = 60.0
"""How often the broker is asked whether to go on, and which tokens are live."""

_DEFAULT_LISTEN = "127.0.0.1:0"
_MAX_LINE_BYTES = 16
_CLASSES: Mapping[Kind, str] = {"connect": jvm.CONNECT_CLASS, "sql": jvm.SQL_CLASS}
_URLS: Mapping[Kind, str] = {"connect": "sc://{}:{}", "sql": "jdbc:hive2://{}:{}/default;ssl=true"}


@dataclass(frozen=True)
class Server:
    """A server, ready to be started.

    Attributes:
        context: of the run.
        configuration: the owner's.
        names: by which clients call it.
        chain: private key, certificate with evidence, and authority (PEM).
        settings: where it listens.
    """

    context: Context
    configuration: ServerConfiguration
    names: tuple[str, ...]
    chain: bytes
    settings: server_settings.Server

    @classmethod
    def of(cls, context: Context) -> Self:
        """Return the server that the image's program says, with a new identity.

        Raises:
            InvalidFormat: the program has faults.
            AttestationRefused: the TEE gives no evidence.
        """
        configuration = ServerConfiguration.from_toml(Path(context.image.program).read_bytes())
        host, _, port = context.launch.get("listen", _DEFAULT_LISTEN).rpartition(":")
        names = tuple(context.launch.get("names", host).split(","))
        chain = make_chain(context.evidence, names, int(time.time()))
        store = write_key_store(chain, context.socket.parent) if configuration.server == "sql" else None
        return cls(context, configuration, names, chain, server_settings.Server(host, int(port), store))

    def run(self, table: Settings, installation: Installation, environment: Mapping[str, str]) -> int:
        """Serve until asked to stop.

        Raises:
            NoGrant: the policy names no key for tokens.
            Unavailable: the server ended before it listened.
            BrokerUnavailable: no broker could be asked until the release ended.
            Refused: the owners' policies do not release anything any more.
        """
        context, kind = self.context, self.configuration.server
        context.secrets["tokens"] = released_tokens(context.release)
        context.secrets["server"] = {
            **table.given(),
            "host": self.settings.host,
            "port": self.settings.port,
            "python_functions": self.configuration.python_functions,
            **_der(self.chain),
        }
        port_in, port_out = os.pipe()
        java = context.start(
            Program(
                argv=installation.java_command(context, _CLASSES[kind]),
                env=environment,
                cwd=context.scratch,
                stdout=port_out,
                stderr=context.output,
            )
        )
        os.close(port_out)
        try:
            context.started()
            port = _port(port_in)
            context.tell("ready", url=_URLS[kind].format(self.names[0], port))
            return self._attend(java)
        finally:
            stop(java)

    def _attend(self, java: Process) -> int:
        until = _end_of(self.context.release)
        while True:
            try:
                return java.wait(min(REFRESH_S, max(0.0, until - time.monotonic())))
            except TimeoutError:
                until = self._follow(until)

    def _follow(self, until: float) -> float:
        """Take over what is released now, and return when that ends; until then it stays if no broker answers."""
        try:
            release = self.context.renew()
            self.context.secrets["tokens"] = released_tokens(release)
            return _end_of(release)
        except Refused:
            raise
        except ConfideError:
            if time.monotonic() >= until:
                raise BrokerUnavailable("no broker could be asked until the release ended") from None
            return until


def _end_of(release: Release) -> float:
    return time.monotonic() + left_s(release, time.time())  # that clock cannot be put back


def _port(descriptor: int) -> int:
    with os.fdopen(descriptor, "rb") as stream:
        line = stream.readline(_MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise Unavailable("the server ended before it listened; its log says why")
    return int(line)


def _der(chain: bytes) -> dict[str, object]:
    key = load_pem_private_key(chain, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    shown = [each.public_bytes(Encoding.DER) for each in certificates(chain)]
    return {
        "key": base64.b64encode(key).decode(),
        "certificates": [base64.b64encode(each).decode() for each in shown],
    }
