"""Names and loopback addresses that the brokers of granted topics have in a sandbox without a network.

The JVM listens at each of them and passes bytes to the agent (`BrokerWays.java`), so that a Kafka client, which knows
sockets alone, connects to a broker as the policy and the cluster name it, and TLS verifies that name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confide.broker.locations import is_topic, stream_addresses
from confide.broker.release import Grant
from confide.data.listing import Format

FILE = "hosts-of-granted-streams"
"""Java names this file where it does not know a name."""
_FIRST = ipaddress.IPv4Address("127.1.0.1")
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Broker:
    """A broker: host and port as the policy spells them, and the host's address in the sandbox."""

    host: str
    port: int
    address: str


def granted_brokers(grants: Iterable[Grant]) -> list[Broker]:
    """Return the brokers of granted topics, each host with an address of its own; `localhost` keeps its own."""
    topics = (grant.location for grant in grants if grant.format is Format.STREAM)
    servers = sorted({server for topic in topics if is_topic(topic) for server in stream_addresses(topic)})
    names = sorted({host for host, _ in servers} - {"localhost"})
    addresses = {host: str(_FIRST + number) for number, host in enumerate(names)} | {"localhost": _LOOPBACK}
    return [Broker(host, port, addresses[host]) for host, port in servers]


def write_hosts(brokers: Iterable[Broker], folder: Path) -> Path:
    """Write the names that there are in the sandbox, in the form of `/etc/hosts`, and return the file."""
    names = {broker.host: broker.address for broker in brokers}
    names |= {"localhost": _LOOPBACK, socket.gethostname(): _LOOPBACK}
    file = folder / FILE
    file.write_text("".join(f"{address} {name}\n" for name, address in names.items()), encoding="ascii")
    return file
