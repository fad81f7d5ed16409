"""`confide stream`: sealed records into a stream of a Redis or a topic of a Kafka, and out of it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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

    from confide.data.streams import StreamWriter
    from confide.data.topics import Kafka, TopicWriter
    from confide.keys.material import Keyset
    from confide.keys.names import KeyName

app = typer.Typer(
    help="Streams of sealed records in a Redis or a Kafka: send rows, read them.",
    epilog="Example:  confide stream send rediss://redis.clinic.example:6380/pulses rows.jsonl --key clinic/pulses",
    no_args_is_help=True,
)

LocationArgument = Annotated[
    str,
    typer.Argument(help="rediss://HOST:PORT/NAME or kafka://HOST:PORT,.../TOPIC, as policies have it."),
]
KeyOption = Annotated[str, typer.Option("--key", "-k", help="Key of the stream, `owner/name`.")]
UserOption = Annotated[
    str | None, typer.Option(help="User of the Redis (without: `default`) or the Kafka (without: none).")
]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", help="File with the user's password.")
]
CaOption = Annotated[
    Path | None,
    typer.Option("--ca", help="Authority (PEM) of the servers' certificates; without: the system's."),
]
MechanismOption = Annotated[
    str, typer.Option(help="How a user of a Kafka logs in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512.")
]


@dataclass(frozen=True)
class _Login:
    user: str | None
    password_file: Path | None
    ca: Path | None
    mechanism: str

    @property
    def password(self) -> str | None:
        file = self.password_file
        return None if file is None else _bytes(file).decode(errors="replace").strip()

    @property
    def authority(self) -> bytes | None:
        return None if self.ca is None else _bytes(self.ca)


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
    mechanism: MechanismOption = "SCRAM-SHA-512",
) -> None:
    """Seal each line, and append it to the stream: one producer, whose records follow one another.

    Lines of a file are appended 256 at once, those of standard input one by one, as they come.

    Example:

        confide stream send rediss://redis.clinic.example:6380/pulses rows.jsonl --key clinic/pulses \\
            --user ward --password-file redis-password --ca redis-ca.pem
    """
    from confide.data.records import AT_ONCE
    from confide.keys.names import KeyName

    name, login = KeyName.parse(key), _Login(user, password_file, ca, mechanism)
    at_once = 1 if rows.fileno() == 0 else AT_ONCE
    with (
        open_home(context) as home,
        _writer(location, login, keyset_of(home.store, {name}), name) as writer,
    ):
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
    mechanism: MechanismOption = "SCRAM-SHA-512",
    trimmed: Annotated[
        bool,
        typer.Option(
            "--trimmed", help="The stream was trimmed: producers need not begin with their first record."
        ),
    ] = False,
) -> None:
    """Write what the stream holds now to standard output, a row on each line, up to the first record out of order.

    Records of a Kafka have no order: there, each is written once, and how many were repeated or are missing is said.

    Example:

        confide stream read rediss://redis.clinic.example:6380/alarms --key clinic/results > alarms.jsonl
    """
    from confide.broker.locations import is_topic
    from confide.keys.names import KeyName

    name, login = KeyName.parse(key), _Login(user, password_file, ca, mechanism)
    with open_home(context) as home:
        keyset = keyset_of(home.store, {name})
        of = _of_kafka(location, login, keyset, name) if is_topic(location) else None
        for row in of or _of_redis(location, login, keyset, name, whole=not trimmed):
            sys.stdout.buffer.write(row + b"\n")
    sys.stdout.buffer.flush()


@contextlib.contextmanager
def _writer(
    location: str, login: _Login, keyset: Keyset, key: KeyName
) -> Iterator[StreamWriter | TopicWriter]:
    from confide.broker.locations import is_topic, stream_name

    name = stream_name(location)
    if is_topic(location):
        with _kafka(location, login) as kafka:
            from confide.data.records import RecordSealer
            from confide.data.topics import TopicWriter

            with TopicWriter(kafka, name, RecordSealer(keyset, key, name)) as writer:
                yield writer
    else:
        with _redis(location, login) as redis:
            from confide.data.streams import StreamWriter

            yield StreamWriter(redis, name, keyset, key)


def _of_kafka(location: str, login: _Login, keyset: Keyset, key: KeyName) -> Iterator[bytes]:
    from confide.broker.locations import stream_name

    with _kafka(location, login) as kafka:
        from confide.data.records import RecordOpener
        from confide.data.topics import TopicReader

        name = stream_name(location)
        reader = TopicReader(kafka, name, RecordOpener(keyset, key, name))
        yield from reader
        if reader.repeated or reader.missing:
            say(
                f"{location}: {reader.repeated:,} record(s) were repeated, and are left out; {reader.missing:,} that "
                "producers made before others are not there: deleted by the topic's retention, of a transaction that "
                "was given up, or withheld"
            )


def _of_redis(location: str, login: _Login, keyset: Keyset, key: KeyName, *, whole: bool) -> Iterator[bytes]:
    from confide.broker.locations import stream_name
    from confide.data.streams import read_stream

    with _redis(location, login) as redis:
        for _, row, _ in read_stream(redis, stream_name(location), keyset, key, whole=whole):
            yield row


@contextlib.contextmanager
def _kafka(location: str, login: _Login) -> Iterator[Kafka]:
    """Yield how the Kafka at a location is reached; what its clients raise within is told as what it is."""
    from confide.broker.locations import stream_addresses

    try:
        from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError

        from confide.data.topics import Kafka
    except ModuleNotFoundError:
        raise MissingDependency("topics need a client of Kafka: install the extra `confide[kafka]`") from None
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it raises is told
    try:
        yield Kafka(stream_addresses(location), login.authority, login.user, login.password, login.mechanism)
    except (SaslAuthenticationFailedError, AuthorizationError) as error:
        raise Misuse(f"{location}: {error}") from None
    except (KafkaError, OSError) as error:
        raise Unavailable(f"{location}: {str(error) or type(error).__name__}") from None


@contextlib.contextmanager
def _redis(location: str, login: _Login) -> Iterator[Redis]:
    """Yield a client of the Redis at a location; what it raises within is told as what it is."""
    from confide.broker.locations import stream_addresses

    try:
        from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

        from confide.data.redis_client import redis_client
    except ModuleNotFoundError:
        raise MissingDependency(
            "streams need a client of Redis: install the extra `confide[streams]`"
        ) from None
    ((host, port),) = stream_addresses(location)
    with redis_client(
        host, port, user=login.user, password=login.password, authority=login.authority
    ) as redis:
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
