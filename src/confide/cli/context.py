"""What every command shares: where the home is and how it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from confide.cli.output import say
from confide.errors import Misuse, WrongPassphrase

if TYPE_CHECKING:
    from confide.broker.home import Home
    from confide.broker.store import Store

_TRIES = 3


@dataclass(frozen=True)
class Settings:
    """The global options."""

    home: Path
    passphrase_fd: int | None


def settings(context: typer.Context) -> Settings:
    """Return the global options of the running command."""
    value = context.find_root().obj
    if not isinstance(value, Settings):
        raise Misuse("the command line was not set up")
    return value


def open_home(context: typer.Context) -> Home:
    """Open the home, asking for its passphrase (at a terminal, up to three times), or for what its key provider needs.

    Raises:
        Misuse: there is no home yet.
        WrongPassphrase: the passphrase does not open it.
        ProviderRefused, ProviderUnavailable, MissingDependency: its key provider does not serve it.
    """
    from confide.broker.home import Home, key_provider_of
    from confide.cli.passphrase import read_secret
    from confide.keys.provider import PROVIDERS, scheme_of

    chosen = settings(context)
    if not has_home(chosen.home):
        raise Misuse(f"no home at {chosen.home}: `confide init OWNER` makes one")
    uri = key_provider_of(chosen.home)
    # A token counts wrong PINs and locks itself: only a passphrase is asked for again.
    asked = chosen.passphrase_fd is None and scheme_of(uri) is PROVIDERS["file"]
    for left in reversed(range(_TRIES if asked else 1)):
        try:
            return Home.open(chosen.home, read_secret(uri, chosen.passphrase_fd))
        except WrongPassphrase as error:
            if not left:
                raise
            say(f"{error}: try again")
    raise AssertionError("the last try returns or raises")


def has_home(folder: Path) -> bool:
    """Return whether a home lies in `folder`."""
    from confide.broker.home import PROVIDER_NAME, ROOT_NAME

    return any((folder / name).exists() for name in (ROOT_NAME, PROVIDER_NAME))


def sole_owner(store: Store, named: str | None) -> str:
    """Return `named`, or the one owner whose signing key is in this home.

    Raises:
        Misuse: none, or several.
    """
    from confide.keys.names import parse_owner

    if named is not None:
        return parse_owner(named)
    mine = own_owners(store)
    if len(mine) == 1:
        return mine[0]
    raise Misuse("which owner? give --owner" if mine else "this home has no owner: `confide init OWNER`")


def check_own_owner(store: Store, owner: str) -> None:
    """Return if the owner's signing key is in this home.

    Raises:
        Misuse: it is not.
    """
    mine = own_owners(store)
    if owner not in mine:
        raise Misuse(f"this home has no owner `{owner}` (owners: {', '.join(mine) or 'none'})")


def own_owners(store: Store) -> list[str]:
    """Return the owners whose signing keys are in this home; others may be enrolled in it."""
    from confide.errors import UnknownKey

    mine = []
    for owner in store.owners():
        try:
            store.owner_signing_key(owner)
        except UnknownKey:
            continue
        mine.append(owner)
    return mine
