"""The Python end of PyFlink's gateway: its JVM as this run starts it, and Py4J over mutual TLS 1.3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.java_gateway import CallbackServerParameters, GatewayParameters, JavaGateway

from confide.errors import Unavailable
from confide.jvm.tls import tls_contexts

STOP_SECONDS = 30.0
"""How long the JVM may take to end once the program has."""


@contextmanager
def java(argv: list[str], modules: Path) -> Iterator[Callable[[], int]]:
    """Start the JVM and yield who waits for its gateway and returns the port; end the JVM afterwards.

    Args:
        argv: its command line, as the agent gave it.
        modules: folder of the program, whose modules its functions import inside the JVM.

    The waiting raises Unavailable where the JVM ended before its gateway was open.
    """
    environment = {**os.environ, **python_in_jvm(modules)}
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*argv, f"/proc/self/fd/{writer}"], stdin=subprocess.PIPE, pass_fds=(writer,), env=environment
    )
    os.close(writer)

    def port() -> int:
        line = pipe.readline(16)
        if not line.endswith(b"\n"):
            raise Unavailable("the JVM ended before its gateway was open")
        return int(line)

    try:
        with os.fdopen(reader, "rb") as pipe:
            yield port
    finally:
        assert process.stdin is not None
        process.stdin.close()  # its sign to stop
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def python_in_jvm(modules: Path) -> dict[str, str]:
    """Return what tells the interpreter in the JVM, which has no program of its own, where library and modules lie."""
    return {"PYTHONHOME": sys.prefix, "PYTHONPATH": str(modules)}


def connect(port: int, secret: Mapping[str, Any]) -> JavaGateway:
    """Connect to the JVM's gateway on loopback.

    Args:
        port: of the gateway.
        secret: the `driver` secret: `token`, `key`, `certificate` and `peer` (PEM).
    """
    client, server = tls_contexts(secret)
    token = secret["token"]
    return JavaGateway(
        gateway_parameters=GatewayParameters(
            port=port, auto_convert=True, auth_token=token, ssl_context=client
        ),
        callback_server_parameters=CallbackServerParameters(
            port=0, daemonize=True, daemonize_connections=True, auth_token=token, ssl_context=server
        ),
    )


def install(gateway: JavaGateway) -> None:
    """Make this gateway the one that PyFlink finds where it would start one."""
    from pyflink import java_gateway

    java_gateway.launch_gateway = lambda: gateway
