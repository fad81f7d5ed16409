"""`confide init`: make a home, and the owner in it."""

from __future__ import annotations

from typing import Annotated

import typer

from confide.cli.context import settings
from confide.cli.hints import advice
from confide.cli.output import emit, say
from confide.cli.passphrase import read_secret
from confide.errors import AlreadyExists


def init(
    context: typer.Context,
    owner: Annotated[
        str | None, typer.Argument(help="Name of the owner, e.g. `clinic`. None: a home for a broker only.")
    ] = None,
    key_provider: Annotated[
        str | None,
        typer.Option(
            help="URI of what protects the root key: file:, pkcs11:, vault:, aws-kms: or sealed: "
            "(docs/key-providers.md). "
            "Its PIN or token is asked for where the passphrase is. Without it: a file under a passphrase."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="URL of an empty PostgreSQL database for the store, without a password (docs/store.md). "
            "Without it: a SQLite file."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a home: root key under a passphrase or a key provider, store, audit log; and the owner's signing key.

    Examples:

        confide init clinic

        confide --home /srv/broker --passphrase-fd 3 init 3<passphrase

        confide init --key-provider 'pkcs11:token=confide;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so'

        confide init --store 'postgresql://confide@db.clinic.example/confide?sslrootcert=/etc/confide/db-ca.pem'

        confide init --key-provider 'vault://vault.clinic.example:8200/transit/confide?ca=/etc/confide/vault-ca.pem'
    """
    from confide.broker.home import Home
    from confide.enclave.simulated.host import host_key
    from confide.keys.names import parse_owner
    from confide.keys.signing import generate_signing_key, key_id, raw_private, raw_public

    name = parse_owner(owner) if owner is not None else None
    chosen = settings(context)
    secret = read_secret(key_provider, chosen.passphrase_fd, choose=True)
    with advice(
        AlreadyExists,
        "this home exists, or the store: use it, or give --home another folder, or --store another database.",
    ):
        made = Home.create(chosen.home, secret, key_provider=key_provider, store=store)
    with made as home, home.store.transaction():
        signing_id = None
        if name is not None:
            key = generate_signing_key()
            home.store.put_owner_signing_key(name, raw_private(key))
            signing_id = key_id(key.public_key())
            home.store.audit.append({"kind": "owner", "owner": name, "key": signing_id})
        host = home.store.enroll_host(raw_public(host_key(chosen.home).public_key()))
        home.store.audit.append({"kind": "host", "host": host})
    if json:
        emit(
            {
                "home": str(chosen.home),
                "key_provider": key_provider,
                "store": store,
                "owner": name,
                "signing_key": signing_id,
                "simulated_host": host,
            }
        )
        return
    say(f"home {chosen.home}: root key under {key_provider or 'your passphrase'}, store, audit log")
    if store is not None:
        say(f"the store is the database at {store}")
    if name is not None:
        say(f"owner {name}: signing key {signing_id}")
    say(f"this machine may run the TEE `simulated` for it: host {host[:16]}…")
