"""`confide stream`: sealed records into a stream of a Redis, and out of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.context import open_home
from confide.cli.data import keyset_of
from confide.cli.output import say
from confide.errors import MissingDependency, Misuse, Unavailable

if TYPE_CHECKING:
    from redis import Redis

app = typer.Typer(
    help="Streams of sealed records in a Redis: send rows, read them.",
    epilog="Example:  confide stream send rediss://redis.clinic.example:6380/pulses rows.jsonl --key clinic/pulses",
    no_args_is_help=True,
)

LocationArgument = Annotated[str, typer.Argument(help="rediss://HOST:PORT/NAME, as policies have it.")]
KeyOption = Annotated[str, typer.Option("--key", "-k", help="Key of the stream, `owner/name`.")]
UserOption = Annotated[str | None, typer.Option(help="User of the Redis' ACL; without: `default`.")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the user's password.")
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", help="Authority (PEM) of the Redis' certificate; without: the system's."),
]


@app.command()
def send(
    context: typer.Context,
    location: LocationArgument,
    rows: Annotated[
        typer.FileBinaryRead, typer.Argument(help="File with a row on each line; `-`: standard input.")
    ],
    key: KeyOption,
    user: UserOption = None,
    password_file: PasswordOption = None,
    ca: CaOption = None,
) -> None:
    """Seal each line, and append it to the stream: one producer, whose records follow one another.

    Lines of a file are appended 256 at once, those of standard input one by one, as they come.

    Example:

        confide stream send rediss://redis.clinic.example:6380/pulses rows.jsonl --key clinic/pulses \\
            --user ward --password-file redis-password --ca redis-ca.pem
    """
    from confide.broker.locations import stream_name
    from confide.data.streams import AT_ONCE, StreamWriter
    from confide.keys.names import KeyName

    name, stream = KeyName.parse(key), stream_name(location)
    at_once = 1 if rows.fileno() == 0 else AT_ONCE
    with open_home(context) as home, _redis(location, user, password_file, ca) as redis:
        writer = StreamWriter(redis, stream, keyset_of(home.store, {name}), name)
        try:
            while lines := [line.rstrip(b"\r\n") for line in islice(rows, at_once)]:
                writer.send(lines)
        finally:  # whoever goes on after an error has to know with which row
            say(f"{location}: {writer.appended:,} row(s) under {name}")


@app.command()
def read(
    context: typer.Context,
    location: LocationArgument,
    key: KeyOption,
    user: UserOption = None,
    password_file: PasswordOption = None,
    ca: CaOption = None,
    trimmed: Annotated[
        bool,
        typer.Option(
            "--trimmed", help="The stream was trimmed: producers need not begin with their first record."
        ),
    ] = False,
) -> None:
    """Write what the stream holds now to standard output, a row on each line, up to the first record out of order.

    Example:

        confide stream read rediss://redis.clinic.example:6380/alarms --key clinic/results > alarms.jsonl
    """
    from confide.broker.locations import stream_name
    from confide.data.streams import read_stream
    from confide.keys.names import KeyName

    name, stream = KeyName.parse(key), stream_name(location)
    with open_home(context) as home, _redis(location, user, password_file, ca) as redis:
        for _, row, _ in read_stream(redis, stream, keyset_of(home.store, {name}), name, whole=not trimmed):
            sys.stdout.buffer.write(row + b"\n")
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _redis(location: str, user: str | None, password_file: Path | None, ca: Path | None) -> Iterator[Redis]:
    """Yield a client of the Redis at a location; what it raises within is told as what it is."""
    from confide.broker.locations import stream_address

    try:
        from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

        from confide.data.redis_client import redis_client
    except ModuleNotFoundError:
        raise MissingDependency(
            "streams need a client of Redis: install the extra `confide[streams]`"
        ) from None
    host, port = stream_address(location)
    password = None if password_file is None else _bytes(password_file).decode(errors="replace").strip()
    authority = None if ca is None else _bytes(ca)
    with redis_client(host, port, user=user, password=password, authority=authority) as redis:
        try:
            yield redis
        except (AuthenticationError, NoPermissionError) as error:
            raise Misuse(f"{location}: {error}") from None
        except (RedisError, OSError) as error:
            raise Unavailable(f"{location}: {str(error) or type(error).__name__}") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from None
