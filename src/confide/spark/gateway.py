"""The Python end of the gateway: Py4J over mutual TLS 1.3, given to PySpark as its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from py4j.java_gateway import java_import
from py4j.protocol import Py4JJavaError
from pyspark import RDD, SparkContext, __version__

from confide.errors import LaunchRefused
from confide.jvm.tls import tls_contexts
from confide.spark.engine import engine_of

ENGINE = engine_of(__version__)
_Load = Callable[[Any, Any], Any]


def connect(port: int, secret: Mapping[str, str]) -> ClientServer:
    """Connect to the JVM's gateway on loopback.

    Args:
        port: of the gateway.
        secret: the `driver` secret: `token`, `key`, `certificate` and `peer` (PEM).

    Raises:
        ssl.SSLError: the peer has not the expected certificate.
    """
    client, server = tls_contexts(secret)
    gateway = ClientServer(
        java_parameters=JavaParameters(
            port=port, auth_token=secret["token"], auto_convert=True, ssl_context=client
        ),
        python_parameters=PythonParameters(port=0, eager_load=False, ssl_context=server),
    )
    gateway.proc = None  # launch_gateway sets it; the JVM is the agent's child
    for name in ENGINE.java_imports:
        java_import(gateway.jvm, name)
    return gateway


def install(gateway: ClientServer) -> None:
    """Make this gateway the one that every `SparkContext` of this process uses.

    The settings are compared before a context is made: the JVM compares them again as a plugin, but by then
    Spark has acted on some of them.
    """
    SparkContext._gateway = gateway
    SparkContext._jvm = gateway.jvm
    make = SparkContext._initialize_context

    def checked(self: SparkContext, jconf: Any) -> Any:
        check(gateway, jconf)
        return make(self, jconf)

    SparkContext._initialize_context = checked  # type: ignore[method-assign]
    for module in (sys.modules[kind.__module__] for kind in (SparkContext, RDD)):
        module._load_from_socket = _to_the_end(module._load_from_socket)  # type: ignore[attr-defined]


def _to_the_end(load: _Load) -> _Load:
    """Return what reads all that the JVM serves to the driver, and asks how that ended.

    Elements may first be read from storage while they are served (`binaryFiles`). PySpark takes what had come by the
    time of an error for all there is, so that a refused or changed file would look like an empty one.
    """

    @contextmanager
    def loaded(sock_info: Any, serializer: Any) -> Iterator[Any]:
        with load(sock_info, serializer) as stream:
            yield stream
        sock_info[2].getResult()

    def elements(sock_info: Any, serializer: Any) -> Iterator[Any]:
        yield from load(sock_info, serializer)
        sock_info[2].getResult()

    return loaded if ENGINE.unix_sockets else elements  # whose file is closed with it; which close their own


def check(gateway: ClientServer, jconf: Any) -> None:
    """Compare a Java `SparkConf` with the hardened settings.

    Raises:
        LaunchRefused: it differs; the message begins with the setting's name.
    """
    try:
        gateway.jvm.confide.spark.Hardening.check(jconf)
    except Py4JJavaError as error:
        java = cast(Any, error).java_exception
        if java.getClass().getName() == "confide.LaunchRefused":
            raise LaunchRefused(java.getMessage()) from None
        raise
