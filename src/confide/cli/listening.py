"""What commands that serve have in common: where they listen, by which names they are called, and how they end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import typer

from confide.errors import Misuse

NameOption = Annotated[
    list[str] | None, typer.Option(help="Name or address by which clients call it; repeat.")
]
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - the user's choice


def launch_parameters(addresses: Mapping[str, str], names: Sequence[str] | None) -> list[str]:
    """Return these launch parameters, and `names`.

    Args:
        addresses: launch parameter -> `ADDRESS:PORT` to listen at.
        names: by which clients call it; None: the addresses.

    Raises:
        Misuse: not such an address, or one that is no name to call it by.
    """
    hosts = {_host(address): address for address in addresses.values()}
    for host, address in hosts.items():
        if not names and host in _EVERYWHERE:
            raise Misuse(f"{address} is no name to call it by: say with --name what clients call it")
    return [*(f"{key}={value}" for key, value in addresses.items()), f"names={','.join(names or hosts)}"]


def called_by(listen: str, names: Sequence[str] | None) -> tuple[str, int, Sequence[str]]:
    """Return host and port of what listens on this machine itself, and by which names it is called.

    Raises:
        Misuse: as `launch_parameters`.
    """
    launch_parameters({"listen": listen}, names)
    host = _host(listen)
    return host, int(listen.rpartition(":")[2]), names or [host]


def _host(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise Misuse(f"not ADDRESS:PORT: {address!r}")
    return host.strip("[]")


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C: the server answers what it has, and the command ends with 0."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    finally:
        signal.signal(signal.SIGTERM, before)
