"""`confide key`: named keys and their versions."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from confide.cli.context import check_own_owner, open_home
from confide.cli.output import emit, say, stdout, table
from confide.errors import Misuse, UnknownKey

app = typer.Typer(
    help="Named keys: create, list, rotate, revoke.",
    epilog="Example:  confide key create clinic/patients",
    no_args_is_help=True,
)

NameArgument = Annotated[str, typer.Argument(help="owner/name, e.g. `clinic/patients`.")]


@app.command()
def create(context: typer.Context, name: NameArgument) -> None:
    """Make a key (256 random bits, version 1).

    Example:

        confide key create clinic/patients
    """
    from confide.keys.names import KeyName

    key = KeyName.parse(name)
    with open_home(context) as home, home.store.transaction():
        check_own_owner(home.store, key.owner)
        home.store.create_key(key)
        home.store.audit.append({"kind": "key-create", "owner": key.owner, "key": str(key), "version": 1})
    say(f"key {key}: version 1")


@app.command()
def rotate(context: typer.Context, name: NameArgument) -> None:
    """Make a new version: new data uses it, old data stays readable.

    Example:

        confide key rotate clinic/patients
    """
    from confide.keys.names import KeyName

    key = KeyName.parse(name)
    with open_home(context) as home, home.store.transaction():
        rotated = home.store.rotate_key(key)
        home.store.audit.append(
            {"kind": "key-rotate", "owner": key.owner, "key": str(key), "version": rotated.current}
        )
    say(f"key {key}: version {rotated.current} wraps new data; older versions still read")


@app.command()
def revoke(
    context: typer.Context,
    name: NameArgument,
    version: Annotated[
        int | None, typer.Option(min=1, help="Only this version; without it, the whole key.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revoke a key or one version: its secret is erased here, and data under it stays closed for ever.

    Example:

        confide key revoke clinic/patients --version 1
    """
    from confide.keys.names import KeyName

    key = KeyName.parse(name)
    what = f"{key}:{version}" if version else f"{key} (every version)"
    if not yes and not sys.stdin.isatty():
        raise Misuse("no terminal to confirm on: give --yes")
    with open_home(context) as home:
        found = [summary for summary in home.store.keys(key.owner) if summary.name == key]
        if not found or version not in (None, *(v.version for v in found[0].versions)):
            raise UnknownKey(f"no key {key}{f':{version}' if version else ''} here")
        if not yes:
            typer.confirm(f"Erase {what}? Data under it can never be read again.", abort=True)
        with home.store.transaction():
            home.store.revoke_key(key, version)
            home.store.audit.append(
                {"kind": "key-revoke", "owner": key.owner, "key": str(key), "version": version or 0}
            )
    say(f"revoked {what}")


@app.command("list")
def list_keys(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List keys and versions, without their secrets.

    Example:

        confide key list --json
    """
    with open_home(context) as home:
        keys = home.store.keys(owner)
    if json:
        emit(
            [
                {
                    "key": str(key.name),
                    "current": key.current,
                    "revoked": key.revoked,
                    "versions": [
                        {"version": v.version, "created": v.created, "revoked": v.revoked}
                        for v in key.versions
                    ],
                }
                for key in keys
            ]
        )
        return
    rows = table("key", "current", "versions", "created", "state")
    for key in keys:
        live = [v.version for v in key.versions if v.revoked is None]
        created = time.strftime("%Y-%m-%d", time.gmtime(key.versions[0].created)) if key.versions else ""
        state = "revoked" if key.revoked else "live"
        rows.add_row(str(key.name), str(key.current or "–"), ", ".join(map(str, live)) or "–", created, state)
    stdout.print(rows)
