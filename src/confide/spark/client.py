"""Clients of Spark Connect that know what answers them: evidence first, then TLS that trusts that server alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.session import SparkSession

from confide.attestation.trust import HardwareTrust
from confide.broker.accepted_server import AcceptedServer
from confide.errors import Misuse
from confide.spark.server_identity import accepted_servers, verify_at


class VerifiedChannel(DefaultChannelBuilder):
    """A way to a server that was verified: `SparkSession.builder.channelBuilder(VerifiedChannel(...))`.

    The server is verified when the channel is made, and again whenever a new one is.

    Args:
        url: `sc://HOST:PORT`, with what else Spark takes there, but no token.
        accepted: what the server must be: the document, or its file (`confide spark accept` writes it).
        token: by which the server knows its clients (`confide spark token` prints it).
        hardware: what evidence of hardware is anchored to; None: simulated evidence only.

    Raises:
        Misuse: a token in the URL, which programs print and log.
    """

    def __init__(
        self,
        url: str,
        accepted: AcceptedServer | Path | str,
        token: str,
        *,
        hardware: HardwareTrust | None = None,
    ) -> None:
        super().__init__(url)
        if self.PARAM_TOKEN in self._params:
            raise Misuse("give the token as an argument of its own, not in the URL")
        self._accepted = (
            accepted if isinstance(accepted, AcceptedServer) else accepted_servers(Path(accepted))
        )
        self._secret, self._hardware = token, hardware

    def toChannel(self) -> grpc.Channel:  # noqa: N802 - Spark's name
        """Verify the server, and return the channel to it.

        Raises:
            AttestationRefused, PlatformRefused, CollateralUnavailable: no accepted server.
            Unavailable: nobody answers.
        """
        server = verify_at(f"sc://{self.endpoint}", self._accepted, self._hardware)
        return self._secure_channel(
            self.endpoint,
            grpc.composite_channel_credentials(
                grpc.ssl_channel_credentials(root_certificates=server.authority_pem),
                grpc.access_token_call_credentials(self._secret),
            ),
        )


def connect(
    url: str, accepted: AcceptedServer | Path | str, token: str, *, hardware: HardwareTrust | None = None
) -> Any:
    """Return a Spark session with a server that was verified first; this process is a client from then on.

    Args and errors are those of `VerifiedChannel`.
    """
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # as pyspark's own builder: for `pyspark.sql.functions`
    channel = VerifiedChannel(url, accepted, token, hardware=hardware)
    return SparkSession.builder.channelBuilder(channel).create()  # not one that is there, of another server
