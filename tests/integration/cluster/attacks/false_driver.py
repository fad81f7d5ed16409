"""The operator gives an executor another driver: its own listener, or the driver of another job."""

import contextlib

from confide.errors import AttestationRefused

from ....mesh import tls_server
from ..stage import listener

CAUSE = r"executor 50\d ended: AttestationRefused: .*no driver of this job"


def attack(stage):
    other = stage.another_job()

    def clear(connection):
        with connection:
            connection.recv(65536)
            connection.sendall(b"\x00" * 64)

    def another_job(connection):
        context = tls_server(other, mutual=False)
        with contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    for index, serve in enumerate((clear, another_job)):
        with listener(serve) as address:
            error = stage.attempt(stage.request(f"50{index}", driver=address))
        assert isinstance(error, AttestationRefused)
