"""`confide encrypt`, `decrypt`, `inspect`: tables and files, in and out."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.buckets import in_bucket, source_folder, target_folder
from confide.cli.context import open_home
from confide.cli.hints import advice
from confide.cli.options import JsonOption
from confide.cli.output import emit, progress, say, stdout, table
from confide.errors import AlreadyExists, Misuse, SignatureRefused, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from confide.broker.store import Store
    from confide.data.csv_source import CsvOptions
    from confide.data.listing import Listing
    from confide.keys.material import Keyset
    from confide.keys.names import KeyName

_REPLACE = "--replace replaces it."
_TABLE_ENDINGS = (".csv", ".csv.gz", ".parquet")

LocationOption = Annotated[
    str | None,
    typer.Option(help="Its location in policies; without: TARGET as given, relative to this folder."),
]
AsOption = Annotated[
    str | None, typer.Option("--as", help="`table` or `files`; without: by the source's endings.")
]
OwnerOption = Annotated[
    str | None, typer.Option(help="Whose it is; without: an owner's whose signing key is in this home.")
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Replace what TARGET holds.")]
TypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="COLUMN=TYPE of a CSV column, instead of the one that is found; repeat. int64, double, string, date, "
        "timestamp, bool, decimal(p,s).",
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(help="What ends a cell of a CSV file: one character, or `tab`; without: a comma."),
]


def encrypt(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="CSV or Parquet (a table), or any file or folder.")],
    target: Annotated[str, typer.Argument(help="New folder of encrypted files, or s3a://BUCKET/PATH.")],
    key: Annotated[str, typer.Option("--key", "-k", help="Key of the table or files, `owner/name`.")],
    column: Annotated[
        list[str] | None, typer.Option(help="COLUMN=KEY: a column with a key of its own; repeat.")
    ] = None,
    types: TypeOption = None,
    delimiter: DelimiterOption = None,
    form: AsOption = None,
    location: LocationOption = None,
    replace: ReplaceOption = False,
    json: JsonOption = False,
) -> None:
    """Encrypt a table or files, in constant memory; the target appears whole or not at all.

    A CSV file is UTF-8 with a header. A column becomes bool, int64, double, date or timestamp only if no value
    changes by that: `007`, `+7`, `1e5`, `NaN`, `True`, integers beyond 64 bits, decimals beyond a double's digits,
    and dates not like 2026-01-31 or 2026-01-31 23:59:59 (.123, .123456, Z) leave a column text. As numbers,
    1.50 and 1.5 are the same. An empty cell is null, a quoted one (`""`) an empty text.

    Examples:

        confide encrypt patients.csv data/patients --key clinic/patients --column ssn=clinic/identifiers

        confide encrypt bills.csv data/bills --key clinic/bills --type "amount=decimal(12,2)"

        confide encrypt scans/ data/scans --key clinic/scans --as files

        confide encrypt patients.csv s3a://bucket/tables/patients --key clinic/patients
    """
    from confide.broker.audit_entries import listed
    from confide.broker.listing_signing import sign_listing
    from confide.data.atomic import storage_errors
    from confide.data.folders import encrypt_files
    from confide.keys.names import KeyName
    from confide.keys.signing import private_key_from_raw

    name = KeyName.parse(key)
    columns = dict(_column(spec) for spec in column or [])
    place = target if in_bucket(target) and location is None else location_of(Path(target), location)
    is_table = _is_table(source, form)
    csv = _csv_options(types or [], delimiter)
    for option, given in (("--column", columns), ("--type and --delimiter", csv)):
        if given and not is_table:
            raise Misuse(f"{option}: only for tables")
    with open_home(context) as home:
        store = home.store
        keyset = keyset_of(store, {name, *columns.values()})
        signing_key = private_key_from_raw(store.owner_signing_key(name.owner))
        known = store.listing_at(name.owner, place)
        base = known.listing.serial if known else 0
        jws: dict[str, str] = {}

        def sign(listing: Listing) -> dict[str, str]:
            jws.update(sign_listing(listing, signing_key, name.owner))
            return jws

        common = {
            "location": place,
            "serial": base + 1,
            "sign": sign,
            "overwrite": replace,
        }
        with (
            advice(AlreadyExists, _REPLACE),
            target_folder(target, replace=replace) as folder,
            progress(f"encrypting {source.name}", quiet=json) as told,
        ):
            with storage_errors(f"cannot make {folder.parent}"):
                folder.parent.mkdir(parents=True, exist_ok=True)
            table_id = known.listing.table if known else None
            encrypting: Callable[..., Listing] = functools.partial(encrypt_files, folder_id=table_id)
            if is_table:
                encrypting = functools.partial(
                    _tables().encrypt_table, columns=columns, csv=csv, table=table_id
                )
            listing = encrypting(source, folder, keyset, name, progress=told, **common)
        with store.transaction():
            store.commit_listing(listing, jws, base)
            store.audit.append({"kind": "encrypt", "owner": name.owner, **listed(listing)})
    size = sum(file.size for file in listing.files)
    if json:
        emit(
            {
                "location": place,
                "table": listing.table,
                "serial": listing.serial,
                "files": len(listing.files),
                "bytes": size,
            }
        )
        return
    say(f"{target}: {listing.format.value} under {key}, {len(listing.files)} file(s), {size:,} bytes")


def decrypt(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(help="Folder of encrypted files, or one sealed file in it, or s3a://BUCKET/PATH."),
    ],
    target: Annotated[
        Path,
        typer.Argument(help="New file (.csv or .parquet) for a table or of one file, new folder for files."),
    ],
    location: Annotated[
        str | None, typer.Option(help="Its location in policies; without: SOURCE as given.")
    ] = None,
    owner: OwnerOption = None,
    broker: Annotated[
        str | None,
        typer.Option(help="URL of a broker to ask for the newest listing; with its --broker-ca."),
    ] = None,
    broker_ca: Annotated[
        Path | None,
        typer.Option(help="Certificate (PEM) of its authority, or accepted broker (TOML)."),
    ] = None,
    replace: ReplaceOption = False,
    json: JsonOption = False,
) -> None:
    """Decrypt what this home's owners hold the keys of; every byte is checked against the signed listing.

    That is the newest one which this home knows. What workloads wrote since through another broker it learns from the
    copy beside the data, where storage may show an older one: --broker asks the broker, and keeps the answer here.

    Examples:

        confide decrypt out/report report.csv

        confide decrypt out/model model/

        confide decrypt out/model/weights.bin weights.bin

        confide decrypt s3a://bucket/out/report report.csv

        confide decrypt out/report report.csv --broker https://kbs.clinic.example:8443 --broker-ca ca.pem
    """
    from confide.data.atomic import storage_errors
    from confide.data.folders import decrypt_file, decrypt_files
    from confide.data.listing import Format

    if (broker is None) != (broker_ca is None):
        raise Misuse("give --broker and --broker-ca together")
    folder, name = _folder_and_name(context.with_resource(source_folder(source)))
    location = location or (source if in_bucket(source) else None)
    with open_home(context) as home:
        if broker is not None and broker_ca is not None:
            ask_newest(home.store, broker, broker_ca, owner, location_of(folder, location))
        listing = listing_of(home.store, folder, location, owner)
        if name is not None and listing.format is Format.TABLE:
            raise Misuse(f"{name} is a part of the table {listing.location}: decrypt the folder")
        with advice(UnknownKey, f"sealed for {listing.owner}: only its home can open it."):
            keyset = keyset_of(home.store, keys_of(listing))
        with storage_errors(f"cannot make {target.parent}"):
            target.parent.mkdir(parents=True, exist_ok=True)
        with advice(AlreadyExists, _REPLACE), progress(f"decrypting {source}", quiet=json) as told:
            if name is not None:
                decrypt_file(folder, listing, name, keyset, target, overwrite=replace)
            else:
                decrypting = _tables().decrypt_table if listing.format is Format.TABLE else decrypt_files
                decrypting(folder, listing, keyset, target, overwrite=replace, progress=told)
    if json:
        emit(
            {
                "target": str(target),
                "table": listing.table,
                "serial": listing.serial,
                "files": 1 if name else len(listing.files),
            }
        )
        return
    say(
        f"{target}: from {1 if name else len(listing.files)} file(s), listing {listing.serial} of {listing.location} "
        f"under {listing.key}"
    )


def inspect(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="An encrypted location, or s3a://BUCKET/PATH.")],
    location: Annotated[
        str | None, typer.Option(help="Its location in policies; without: PATH as given.")
    ] = None,
    owner: OwnerOption = None,
    json: JsonOption = False,
) -> None:
    """Show the signed listing of a location, and check its files against it.

    Example:

        confide inspect data/patients
    """
    from confide.data.listing_io import check_folder

    folder = context.with_resource(source_folder(path))
    location = location or (path if in_bucket(path) else None)
    with open_home(context) as home:
        listing = listing_of(home.store, folder, location, owner)
    check_folder(folder, listing)
    if json:
        emit(listing.model_dump(mode="json"))
        return
    rows = table("", "")
    rows.add_row("location", f"{listing.location} ({listing.format.value}, serial {listing.serial})")
    rows.add_row("id", listing.table)
    rows.add_row("key", listing.key)
    for column, key in sorted(listing.columns.items()):
        rows.add_row(f"key of {column}", key)
    rows.add_row(
        "files", f"{len(listing.files)}, {sum(f.size for f in listing.files):,} bytes, all as listed"
    )
    stdout.print(rows)


def location_of(path: Path, named: str | None) -> str:
    """Return the location of `path` in the policy's words.

    Raises:
        Misuse: the path leaves this folder and no location is named.
    """
    if named is not None:
        return named
    if path.is_absolute() or ".." in path.parts or path == Path():
        raise Misuse(f"{path} is not below this folder: say with --location how policies call it")
    return path.as_posix()


def keyset_of(store: Store, names: set[KeyName]) -> Keyset:
    """Return the named keys of this home.

    Raises:
        UnknownKey: one of them is not here.
    """
    from confide.keys.material import Keyset

    return Keyset({name: store.key(name) for name in names})


def keys_of(listing: Listing) -> set[KeyName]:
    """Return the names of all keys of a listing."""
    from confide.keys.names import KeyName

    return {KeyName.parse(text) for text in (listing.key, *listing.columns.values())}


def _folder_and_name(source: Path) -> tuple[Path, str | None]:
    """Return the encrypted folder, and the name in it if `source` is one of its files."""
    if source.is_dir():
        return source, None
    if not source.exists():
        raise Misuse(f"no folder or file {source}")
    for folder in source.parents:
        if (folder / "_confide.listing").exists():
            return folder, source.relative_to(folder).as_posix()
    raise Misuse(f"{source} lies in no folder with a signed listing")


def ask_newest(store: Store, url: str, pin: Path, owner: str | None, location: str) -> None:
    """Take over the newest listing of a location that a broker knows; nothing changes if it knows none.

    Raises:
        Rollback: this home knows a newer one.
        SignatureRefused: it was signed neither by the owner nor by a broker that the owner published to.
        BrokerUnavailable, BrokerUntrusted: the broker cannot be asked.
    """
    from confide.broker.listing_signing import listing_signers, verify_listing
    from confide.cli.brokers import owner_client
    from confide.cli.context import sole_owner
    from confide.errors import BrokerUnavailable, Rollback

    name = sole_owner(store, owner)
    jws = owner_client(store, name, url, pin).newest_listing(location)
    if jws is None:
        return
    newest = verify_listing(jws, listing_signers(store, name))
    if (newest.owner, newest.location) != (name, location):
        raise BrokerUnavailable(f"{url} answers with the listing of {newest.location} of {newest.owner}")
    known = store.listing(name, newest.table)
    if known is not None and known.listing.serial > newest.serial:
        raise Rollback(
            f"{location}: {url} knows serial {newest.serial} at most; this home {known.listing.serial}. If you "
            "encrypted it since, `confide push`"
        )
    store.put_listing(newest, jws)


def listing_of(store: Store, folder: Path, named: str | None, owner: str | None) -> Listing:
    """Return the newest listing that this home knows of the location, else the signed copy beside the data.

    Others who are enrolled here may have a listing of the same name, and storage may show their files.
    """
    from confide.cli.context import own_owners
    from confide.errors import FileChanged, NotEncrypted
    from confide.keys.names import parse_owner

    owners = [parse_owner(owner)] if owner else own_owners(store) or list(store.owners())
    absolute = folder.is_absolute() and named is None
    location = folder.as_posix() if absolute else location_of(folder, named)
    known = [stored.listing for each in owners if (stored := store.listing_at(each, location))]
    if len(known) > 1:
        whose = ", ".join(listing.owner for listing in known)
        raise Misuse(f"{location} is known of {whose}: say whose with --owner")
    if known:
        return known[0]
    if not (folder / "_confide.listing").exists():
        raise NotEncrypted(f"{folder}: no signed listing, here or in this home")
    listing = _copied_listing(store, folder, owners)
    if listing.location != location and not absolute:
        raise FileChanged(
            f"{folder} holds what was written to {listing.location}, not to {location}; if it was moved, "
            f"say --location {listing.location}"
        )
    return listing


def _copied_listing(store: Store, folder: Path, owners: list[str]) -> Listing:
    from confide.broker.listing_signing import listing_signers, verify_listing
    from confide.data.listing_io import LISTING_NAME, open_listed, read_copy
    from confide.data.sealed_header import read_header
    from confide.errors import Rollback
    from confide.keys.names import KeyVersion

    with open_listed(folder, LISTING_NAME) as file:
        key = KeyVersion.parse(read_header(file).header.key).key
    if key.owner not in owners:
        with advice(SignatureRefused, f"sealed for {key.owner}: only its home can open it."):
            raise SignatureRefused(f"{folder} is under a key of {key.owner}, not of {', '.join(owners)}")
    signers = listing_signers(store, key.owner)
    listing = read_copy(folder, keyset_of(store, {key}), lambda jws: verify_listing(jws, signers).canonical())
    newest = store.listing(listing.owner, listing.table)
    if newest is not None and newest.listing.serial > listing.serial:
        raise Rollback(
            f"{folder}: the listing there is serial {listing.serial}; this home knows {newest.listing.serial}"
        )
    return listing


def _tables() -> ModuleType:
    """Import what tables need: a quarter of a second, and Arrow must give freed memory back, not keep 100 MB."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    import pyarrow as pa

    from confide.data import tables

    with contextlib.suppress(NotImplementedError):  # built without jemalloc
        pa.jemalloc_set_decay_ms(0)
    return tables


def _csv_options(specs: list[str], delimiter: str | None) -> CsvOptions | None:
    if not specs and delimiter is None:
        return None
    _tables()
    from confide.data.csv_source import CsvOptions
    from confide.data.csv_types import parse_type

    types = {}
    for spec in specs:
        column, separator, kind = spec.rpartition("=")
        if not separator or column in types:
            raise Misuse(f"not COLUMN=TYPE, or a column twice: {spec!r}")
        types[column] = parse_type(kind)
    if delimiter in ("tab", r"\t"):
        delimiter = "\t"
    return CsvOptions(types, delimiter)


def _column(spec: str) -> tuple[str, KeyName]:
    from confide.keys.names import KeyName

    column, separator, key = spec.rpartition("=")
    if not separator or not column:
        raise Misuse(f"not COLUMN=KEY: {spec!r}")
    return column, KeyName.parse(key)


def _is_table(source: Path, form: str | None) -> bool:
    if form is not None:
        if form not in ("table", "files"):
            raise Misuse(f"--as takes `table` or `files`, not {form!r}")
        return form == "table"
    if source.is_dir():
        names = [path.name for path in source.iterdir() if not path.name.startswith(("_", "."))]
        return bool(names) and all(name.endswith(_TABLE_ENDINGS) for name in names)
    return source.name.endswith(_TABLE_ENDINGS)
