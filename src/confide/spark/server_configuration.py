"""The owner's configuration of a Spark server: a program `NAME.toml`, part of the image and so measured.

Format: docs/how-to/spark-servers.md.
"""

from __future__ import annotations

import tomllib
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from confide.attestation.evidence import describe
from confide.document import StrictModel
from confide.errors import InvalidFormat

MAX_BYTES = 16 * 1024
SUFFIX = ".toml"

Kind = Literal["connect", "sql"]


def is_server(program: PurePath | str) -> bool:
    """Return whether a program is a server."""
    return PurePath(program).suffix == SUFFIX


class ServerConfiguration(StrictModel):
    """What the server is.

    Attributes:
        version: of this format, 1.
        server: `connect`, of Spark Connect, or `sql`, which JDBC and BI tools speak to (HiveServer2's protocol).
        python_functions: clients of Spark Connect may send functions in Python, which nobody measured.
    """

    version: Annotated[int, Field(ge=1, le=1)]
    server: Kind
    python_functions: bool = False

    @classmethod
    def from_toml(cls, data: bytes) -> Self:
        """Parse the document.

        Raises:
            InvalidFormat: larger than 16 KiB, not TOML, or with faults; all are listed.
        """
        if len(data) > MAX_BYTES:
            raise InvalidFormat(f"Spark server: {len(data)} bytes, at most {MAX_BYTES} are allowed")
        try:
            configuration = cls.model_validate(tomllib.loads(data.decode()))
        except ValidationError as error:
            raise InvalidFormat(f"Spark server: {describe(error)}") from None
        except (ValueError, RecursionError):
            raise InvalidFormat("Spark server: not TOML") from None
        if configuration.python_functions and configuration.server != "connect":
            raise InvalidFormat("Spark server: python_functions: of Spark Connect alone")
        return configuration
