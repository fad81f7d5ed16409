"""The way to the Redis that requests wait in: verified TLS 1.3, a user of its ACL, and that it keeps what it has.

It is the operator's, and trusted with nothing: what lies in it is sealed.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from confide.errors import Misuse
from confide.serving.client_transport import client_tls
from confide.serving.failures import Unreachable
from confide.serving.redis_queue import ANSWERED, GROUP, READY, STREAM

PORT = 6379
CONNECT_S = 10.0
ANSWER_S = 30.0
"""Of a command that does not block; a store that is being loaded takes long."""
MAX_CONNECTIONS = 64
"""More than a relay or a front end has at once."""
_KEEPS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
"""Settings with which Redis has on disk what it said it has, and forgets nothing to make room."""
Commands: TypeAlias = Sequence[tuple[str, ...]]

FRONT_END: Commands = (
    ("EVAL", "", "1", STREAM),
    ("XADD", STREAM, "*", "a", "b"),
    ("XLEN", STREAM),
    ("HSET", STREAM, "a", "b"),
    ("HMGET", STREAM, "a"),
    ("EXISTS", READY),
    ("INFO",),
    ("SUBSCRIBE", ANSWERED),
)
"""What the user of a front end must be allowed."""
WORKER: Commands = (
    ("EVAL", "", "1", STREAM),
    ("XGROUP", "CREATE", STREAM, GROUP, "0"),
    ("XREADGROUP", "GROUP", GROUP, "a", "STREAMS", STREAM, ">"),
    ("XPENDING", STREAM, GROUP),
    ("XCLAIM", STREAM, GROUP, "a", "0", "0"),
    ("XACK", STREAM, GROUP, "0"),
    ("XDEL", STREAM, "0"),
    ("HSET", STREAM, "a", "b"),
    ("SET", READY, "1"),
    ("PUBLISH", ANSWERED, "a"),
)
"""The same of workers' relays."""
_IN_ITS_FILE: Commands = (
    ("MULTI",),
    ("XADD", STREAM, "*", "a", "b"),
    ("HSET", STREAM, "a", "b"),
    ("PEXPIREAT", STREAM, "1"),
    ("XCLAIM", STREAM, GROUP, "a", "0", "0"),
    ("XACK", STREAM, GROUP, "0"),
    ("XDEL", STREAM, "0"),
    ("EXEC",),
)
"""What is in the append-only file. Where the user `default` may not do that, Redis 7.0 leaves it out when it starts."""


@dataclass(frozen=True)
class RedisLink:
    """How to reach a Redis.

    Attributes:
        host, port, database: of it; a database is one queue.
        user: of its ACL.
        password: of that user.
        authority: certificate (PEM) that its own chains to; None: the system's authorities.
    """

    host: str
    port: int
    database: int
    user: str
    password: str = field(repr=False)
    authority: bytes | None = None

    @classmethod
    def parse(cls, url: str, password: Path | None = None, authority: Path | None = None) -> Self:
        """Read `rediss://USER@HOST:PORT/DATABASE`, of which the host alone must be there.

        Args:
            url: without a password, which others would see on the command line.
            password: file with it; None: the user has none.
            authority: file with the certificate of the authority; None: the system's.

        Raises:
            Misuse: another URL, or a file that cannot be read.
        """
        parts = urlsplit(url)
        if parts.scheme != "rediss" or not parts.hostname or parts.query or parts.fragment:
            raise Misuse(f"the queue's URL is rediss://USER@HOST:PORT/DATABASE, by TLS, not {_shown(url)}")
        if parts.password is not None:
            raise Misuse("the queue's URL has a password in it, which others see: give it in a file")
        database = parts.path.strip("/") or "0"
        try:
            port = PORT if parts.port is None else parts.port
        except ValueError:
            port = 0
        if not port or not database.isdecimal():
            raise Misuse(f"the queue's URL is rediss://USER@HOST:PORT/DATABASE, by TLS, not {_shown(url)}")
        return cls(
            parts.hostname,
            port,
            int(database),
            unquote(parts.username or "default"),
            "" if password is None else _read(password).decode(errors="replace").strip("\r\n"),
            None if authority is None else _read(authority),
        )

    @property
    def called(self) -> str:
        """What it is called in messages."""
        return f"rediss://{self.host}:{self.port}/{self.database}"

    def connect(self) -> Redis:
        """Return a client that connects when it is used.

        Raises:
            Misuse: the authority is no certificate.
        """
        pool = ConnectionPool(
            connection_class=_Verified,
            tls=self._tls(),
            host=self.host,
            port=self.port,
            db=self.database,
            username=self.user,
            password=self.password or None,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=ANSWER_S,
            max_connections=MAX_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),  # who asks knows what may be asked twice
            decode_responses=False,
            protocol=2,
        )
        return Redis.from_pool(pool)

    def _tls(self) -> ssl.SSLContext:
        if self.authority is not None:
            return client_tls(self.authority)
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


class _Verified(SSLConnection):
    """A connection in a context as it is: the client's own always trusts the system's authorities, too."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


async def check(link: RedisLink, needed: Commands = ()) -> None:
    """Return if a Redis answers, lets its user do what is needed, and keeps what it has when it is killed.

    Raises:
        Unreachable: it does not answer, or shows no certificate of the authority.
        Misuse: it would lose requests; or the user may not do what is needed.
    """
    called = link.called
    try:
        async with link.connect() as redis:
            said = await redis.config_get(*_KEEPS)
            own = await _forbidden(redis, link.user, needed)
            left_out = await _forbidden(redis, "default", _IN_ITS_FILE)
    except NoPermissionError as error:
        raise Misuse(f"{called}: its user may not do what is needed: {error}") from None
    except AuthenticationError as error:
        raise Misuse(f"{called}: it does not take user and password: {error}") from None
    except (RedisError, OSError) as error:
        raise Unreachable(f"{called}: {str(error) or type(error).__name__}") from None
    found = {_text(name): _text(value) for name, value in said.items()}
    if wrong := [f"{name} {value}" for name, value in _KEEPS.items() if found.get(name) != value]:
        raise Misuse(f"{called} would lose requests: its configuration must have {', '.join(wrong)}")
    if own:
        raise Misuse(
            f"{called}: its user {link.user} may not do what is needed: {', '.join(own)} (docs/serving.md)"
        )
    if left_out:
        raise Misuse(
            f"{called} would lose requests: when it starts it reads its file as the user `default`, who must be "
            "allowed what is in there, though not to log in: `user default off resetpass ~* &* +@all`"
        )


async def _forbidden(redis: Redis, user: str, commands: Commands) -> list[str]:
    """Return the names of the commands that a user may not run as they are."""
    answers: list[Any] = [await redis.acl_dryrun(user, *command) for command in commands]
    return [name for (name, *_), answer in zip(commands, answers, strict=True) if _text(answer) != "OK"]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _shown(url: str) -> str:
    return repr(url) if "@" not in url else "one with another form"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misuse(f"cannot read {path}: {error.strerror}") from None
