"""`confide recovery`: a store's root key shared among owners, any k of whom give it back."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.context import open_home, settings
from confide.cli.hints import advice
from confide.cli.options import JsonOption
from confide.cli.output import emit, say
from confide.cli.passphrase import read_passphrase, read_secret
from confide.cli.verify import read_input
from confide.errors import (
    AlreadyExists,
    InvalidFormat,
    Misuse,
    ProviderRefused,
    Refused,
    UnknownKey,
    WrongPassphrase,
)

if TYPE_CHECKING:
    from confide.keys.recovery.documents import RecoverySet
    from confide.keys.recovery.key import RecoveryKey, RecoveryPublicKey
    from confide.keys.recovery.recover import Recovered

app = typer.Typer(
    help="Restore a store on another machine when k of n owners agree: docs/recovery.md.",
    epilog="Example:  confide recovery split --threshold 2 --owner ana=ana.pem --owner ben=ben.pem -o clinic.set",
    no_args_is_help=True,
)

SetArgument = Annotated[Path, typer.Argument(metavar="SET", help="The recovery set, as `split` wrote it.")]
KeyOption = Annotated[
    Path, typer.Option("--key", help="Recovery key of your own, as `confide recovery key` made it.")
]

_WRONG_FILE = "is this the right file? A set comes from `split`, an answer from `answer`, keys from `key`."
_WRONG_STORE = (
    "--store takes a home's `store.db`, copied while no process had it open, with its `store.db-wal`."
)
_KEY_PASSPHRASE = "passphrase of the recovery key"  # noqa: S105  # what is asked for


@app.command("key")
def make_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where its private part is to lie, under a passphrase.")],
    public: Annotated[
        bool, typer.Option("--public", help="Make none: print the public part of the one that is there.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Make a recovery key, and print its public part (PEM). Owners have one each, and so has the machine that restores.

    Examples:

        confide recovery key ana.key > ana.pem

        confide recovery key ana.key --public > ana.pem
    """
    from confide.keys.recovery.key import RecoveryKey

    fd = settings(context).passphrase_fd
    if public:
        key = _open_key(file, fd)
    else:
        if file.exists():
            raise AlreadyExists(f"{file} is there already")
        key = RecoveryKey.create(file, read_passphrase(fd, confirm=True, name=_KEY_PASSPHRASE))
    if json:
        pem = key.public.pem().decode()
        emit({"file": str(file), "id": key.public.id, "fingerprint": key.public.fingerprint, "public": pem})
        return
    say(f"recovery key {file}, fingerprint {key.public.fingerprint}")
    typer.echo(key.public.pem().decode(), nl=False)


@app.command()
def split(
    context: typer.Context,
    threshold: Annotated[int, typer.Option(help="How many owners it takes, 2 or more.")],
    owner: Annotated[
        list[str], typer.Option(help="NAME=PUBLIC.pem: an owner and the recovery key's public part; repeat.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of the recovery set.")],
    json: JsonOption = False,
) -> None:
    """Share the home's root key among owners. The file tells nobody anything: keep copies of it where the backups are.

    Compare each fingerprint with its owner before the file leaves this machine. Who has as many of these keys as
    --threshold says, and a copy of the store, has every key in it.

    Example:

        confide recovery split --threshold 2 --owner ana=ana.pem --owner ben=ben.pem --owner cleo=cleo.pem -o clinic.set
    """
    from confide.data.atomic import atomic_file

    owners = _owners(owner)
    with open_home(context) as home, atomic_file(output) as file:
        with advice(ProviderRefused, "back up what protects it, by its own means: docs/recovery.md."):
            given = home.share_root(threshold, owners)
        file.write(given.canonical())
    if json:
        shares = [
            {"owner": share.owner, "key": share.key, "fingerprint": owners[share.owner].fingerprint}
            for share in given.shares
        ]
        emit({"file": str(output), **_said(given), "owners": shares})
        return
    say(f"{output}: any {threshold} of {len(owners)} owners restore the store {given.store}")
    for name, key in owners.items():
        say(f"  {name}: {key.fingerprint}")
    say(f"each owner makes sure of it with `confide recovery check {output} --key FILE`")


@app.command()
def check(context: typer.Context, file: SetArgument, key: KeyOption, json: JsonOption = False) -> None:
    """Make sure that your share of a recovery set opens under your recovery key.

    Example:

        confide recovery check clinic.set --key ana.key
    """
    from confide.keys.recovery.recover import check

    given = _read_set(file)
    with _own_share():
        share = check(given, _open_key(key, settings(context).passphrase_fd))
    if json:
        emit({**_said(given), "owner": share.owner})
        return
    say(f"{_described(given)}: the share of {share.owner} opens")


@app.command()
def answer(
    context: typer.Context,
    file: SetArgument,
    key: KeyOption,
    to: Annotated[
        Path, typer.Option("--to", help="Public part of the recovery key of the machine that restores.")
    ],
    fingerprint: Annotated[
        str | None,
        typer.Option(help="Fingerprint of --to, as who restores told it: else you are shown it, and asked."),
    ] = None,
) -> None:
    """Give your share to the machine that restores: it is sealed to that machine's key, and printed.

    Speak to the person who restores, and compare the fingerprint: an answer to another key gives your share away.

    Examples:

        confide recovery answer clinic.set --key ana.key --to machine.pem > ana.answer

        confide recovery answer clinic.set --key ana.key --to machine.pem --fingerprint '3f10 9ac8 ...' > ana.answer
    """
    from confide.keys.recovery.recover import answer

    given, whom = _read_set(file), _read_public(to)
    say(_described(given))
    _confirm(whom, to, fingerprint)
    with _own_share():
        made = answer(given, _open_key(key, settings(context).passphrase_fd), whom)
    say(f"the share of {given.shares[made.index - 1].owner}, sealed to {whom.fingerprint}")
    typer.echo(made.canonical())


@app.command()
def restore(
    context: typer.Context,
    file: SetArgument,
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWER...", help="Owners' answers.")],
    key: KeyOption,
    store: Annotated[
        str,
        typer.Option(
            help="Copy of the store: `store.db`, with its `store.db-wal` beside it if it had one; or URL of the "
            "PostgreSQL database into which it was copied."
        ),
    ],
    key_passphrase_fd: Annotated[
        int | None,
        typer.Option(
            help="Read the recovery key's passphrase from this descriptor; --passphrase-fd has the home's."
        ),
    ] = None,
    key_provider: Annotated[
        str | None, typer.Option(help="What protects the root key from now on, as for `confide init`.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a home (--home) of a store that lay elsewhere and of the owners' answers, under a new passphrase.

    The audit log says who answered. Stop what used the store before: two copies in use grow apart.

    Examples:

        confide --home /srv/broker recovery restore clinic.set ana.answer cleo.answer --key machine.key --store store.db

        confide --passphrase-fd 3 recovery restore clinic.set *.answer --key machine.key --key-passphrase-fd 4
        --store store.db 3<new 4<key
    """
    from confide.broker.home import Home

    chosen = settings(context)
    recovered = _recover(file, answers, key, key_passphrase_fd)
    if chosen.passphrase_fd is None and key_provider is None:
        say(f"now choose the passphrase of the home {chosen.home}")
    secret = read_secret(key_provider, chosen.passphrase_fd, choose=True)
    with (
        advice(AlreadyExists, "give --home a folder that is not there yet; nothing was overwritten."),
        advice(InvalidFormat, _WRONG_STORE),
    ):
        copy = store if "://" in store else Path(store)
        made = Home.restore(chosen.home, secret, copy, recovered, key_provider=key_provider)
    with made as home:
        entries = home.store.audit.size()
    if json:
        emit(
            {
                "home": str(chosen.home),
                "key_provider": key_provider,
                **_said(recovered.given),
                "answered": list(recovered.owners),
                "audit_entries": entries,
            }
        )
        return
    say(f"home {chosen.home}: the store {recovered.given.store}, given back by {', '.join(recovered.owners)}")
    say(
        f"its audit log has {entries} entries: put a checkpoint that you kept into the home as audit.checkpoint, "
        "and `confide audit verify` tells whether they are the entries of before"
    )


def _recover(file: Path, answers: list[Path], key: Path, fd: int | None) -> Recovered:
    from confide.keys.recovery.documents import MAX_ANSWER_BYTES, Answer
    from confide.keys.recovery.recover import combine_answers

    given = _read_set(file)
    with advice(InvalidFormat, _WRONG_FILE):
        read = [Answer.parse(read_input(each, MAX_ANSWER_BYTES)) for each in answers]
    return combine_answers(given, read, _open_key(key, fd, "--key-passphrase-fd"))


def _open_key(file: Path, fd: int | None, option: str = "--passphrase-fd") -> RecoveryKey:
    from confide.keys.recovery.key import RecoveryKey

    with (
        advice(InvalidFormat, _WRONG_FILE),
        advice(
            WrongPassphrase, f"give the passphrase of `confide recovery key`, at the prompt or with {option}."
        ),
    ):
        return RecoveryKey.open(file, read_passphrase(fd, name=_KEY_PASSPHRASE, option=option))


def _read_set(file: Path) -> RecoverySet:
    from confide.keys.recovery.documents import MAX_SET_BYTES, RecoverySet

    with advice(InvalidFormat, _WRONG_FILE):
        return RecoverySet.parse(read_input(file, MAX_SET_BYTES))


def _read_public(file: Path) -> RecoveryPublicKey:
    from confide.keys.recovery.key import MAX_PEM_BYTES, RecoveryPublicKey

    with advice(InvalidFormat, _WRONG_FILE):
        return RecoveryPublicKey.from_pem(read_input(file, MAX_PEM_BYTES))


def _owners(given: list[str]) -> dict[str, RecoveryPublicKey]:
    owners: dict[str, RecoveryPublicKey] = {}
    for each in given:
        name, equals, file = each.partition("=")
        if not equals or not file:
            raise Misuse(f"not NAME=PUBLIC.pem: {each!r}")
        if name in owners:
            raise Misuse(f"the owner {name} is given twice")
        owners[name] = _read_public(Path(file))
    return owners


def _confirm(whom: RecoveryPublicKey, file: Path, fingerprint: str | None) -> None:
    if fingerprint is not None:
        if not whom.has_fingerprint(fingerprint):
            raise Refused(f"{file} is not the key of this fingerprint; its own is {whom.fingerprint}")
        return
    say(f"{file} has the fingerprint  {whom.fingerprint}")
    if not sys.stdin.isatty():
        raise Misuse("no terminal to confirm on: give --fingerprint, as who restores told it")
    say("Did the person who restores tell you the same? [y/N]")  # on stderr: the answer goes to stdout
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise typer.Abort


def _own_share() -> AbstractContextManager[None]:
    return advice(UnknownKey, "each owner opens one share, with the key whose public part `split` was given.")


def _described(given: RecoverySet) -> str:
    return f"store {given.store}, any {given.threshold} of {len(given.shares)} owners"


def _said(given: RecoverySet) -> dict[str, str | int]:
    return {"store": given.store, "set": given.digest(), "threshold": given.threshold}
