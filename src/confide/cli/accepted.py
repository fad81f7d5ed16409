"""What clients of a workload that is a server demand of it: from the policy in force, for whoever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.context import open_home, sole_owner
from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.broker.accepted_server import AcceptedServer

WorkloadArgument = Annotated[str, typer.Argument(help="Its name in the owner's policy in force.")]
OwnerOption = Annotated[str | None, typer.Option(help="Whose policy, if this home has several owners.")]


def accepted_by_clients(
    context: typer.Context, workload: str, owner: str | None, kind: type[AcceptedServer]
) -> str:
    """Return the document by which clients accept the servers of a workload.

    Raises:
        Misuse: no policy is in force, or it has no such workload that takes requests.
    """
    from confide.broker.accepted_document import accepted_document
    from confide.broker.policy import parse_policy

    with open_home(context) as home:
        name = sole_owner(home.store, owner)
        stored = home.store.policy(name)
        if stored is None:
            raise Misuse(f"no policy of {name} is in force: `confide policy apply` puts one into force")
        hosts = [home.store.host(identity) for identity in home.store.hosts()]
        keys = home.store.keys()
    return accepted_document(parse_policy(stored.toml), workload, hosts, keys, kind)
