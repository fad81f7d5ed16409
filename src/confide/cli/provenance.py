"""`confide audit provenance`: which measured code made what lies at a location, and from what."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confide.cli.buckets import in_bucket, source_folder
from confide.cli.context import open_home, sole_owner
from confide.cli.data import (
    LocationOption,
    OwnerOption,
    ask_newest,
    keys_of,
    keyset_of,
    listing_of,
    location_of,
)
from confide.cli.options import JsonOption
from confide.cli.output import emit, say, stdout, table, tee_note
from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.broker.provenance import Step, Version


def provenance(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="An encrypted location, or s3a://BUCKET/PATH.")],
    location: LocationOption = None,
    owner: OwnerOption = None,
    broker: Annotated[
        str | None,
        typer.Option(help="URL of the broker it was committed at; with --broker-ca. Default: this home."),
    ] = None,
    broker_ca: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) of its authority, or accepted broker (TOML).")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show which measured code made what lies at a location, and from what, as the broker's log has it.

    Every file is decrypted and held against the signed listing, and the listing against the log's entry of its commit.
    The agent of that commit has its releases in the log: what it could read, at which serial; and so on, back to what
    owners encrypted. No word of it is the program's. SHA-256 is that of the files as `confide decrypt` writes them.

    Examples:

        confide audit provenance out/model

        confide audit provenance out/model --json

        confide audit provenance out/model --broker https://kbs.clinic.example:8443 --broker-ca ca.pem
    """
    from confide.broker import provenance as rules
    from confide.broker.seen_logs import remote_entries, verify_own_log, verify_remote_log
    from confide.cli.brokers import owner_client
    from confide.data.folders import file_digests
    from confide.data.listing import Format
    from confide.data.listing_io import check_folder

    if (broker is None) != (broker_ca is None):
        raise Misuse("give --broker and --broker-ca together")
    folder = context.with_resource(source_folder(path))
    place = location or (path if in_bucket(path) else None)
    with open_home(context) as home:
        if broker is not None and broker_ca is not None:
            ask_newest(home.store, broker, broker_ca, owner, location_of(folder, place))
            listing = listing_of(home.store, folder, place, owner)
            client = owner_client(home.store, sole_owner(home.store, owner), broker, broker_ca)
            steps = rules.provenance(listing, remote_entries(client))
            used = [entry for step in steps for entry in (step.entry, *step.releases) if entry is not None]
            log = verify_remote_log(home, client, used)
        else:
            listing = listing_of(home.store, folder, place, owner)
            _, log = verify_own_log(home)
            steps = rules.provenance(listing, home.store.audit.all())
        files: dict[str, str | None] = {file.path: None for file in listing.files}
        if listing.format is Format.FILES:
            files |= file_digests(folder, listing, keyset_of(home.store, keys_of(listing)))
        else:
            check_folder(folder, listing)
    told = [_told(step) for step in steps]
    if json:
        state = {"origin": log.origin, "size": log.size, "root": log.root.hex()}
        emit({"files": files, "steps": told, "log": state})
        return
    rows = table("", "")
    for name, digest in files.items():
        rows.add_row(name, f"SHA-256 {digest}" if digest else "as listed")
    for step in told:
        rows.add_row("", "")
        _show(rows, step)
    stdout.print(rows)
    say(f"all of it is in the log of {log.size} entries, root {log.root.hex()[:16]}…")
    if broker is not None:
        say(
            "shown by a broker elsewhere: what it shows is in its log; that it shows every release is its word"
        )


def _told(step: Step) -> dict[str, Any]:
    """Return a step as JSON has it."""
    told: dict[str, Any] = {**_version(step.version), "made_by": None}
    if step.entry is None:
        return told
    told |= {"entry": step.entry.index, "time": step.entry.time, "listing": step.entry.fields["listing"]}
    if not step.releases:
        return {**told, "made_by": "owner"}
    fields = step.entry.fields
    who = {name: fields[name] for name in ("workload", "measurement", "tee", "role", "svn", "hardware_id")}
    return {
        **told,
        "made_by": "workload",
        **who,
        "code": _code(fields["measurement"]),
        "releases": [entry.index for entry in step.releases],
        "executors": sorted({e.fields["measurement"] for e in step.releases} - {fields["measurement"]}),
        "inputs": [_version(version) for version in step.inputs],
        "writable": list(step.writable),
    }


def _version(version: Version) -> dict[str, Any]:
    return {"owner": version.owner, "location": version.location, "serial": version.serial}


def _code(measurement: str) -> dict[str, str]:
    """Return path -> SHA-256 of the program's own files, where the image of that measurement is in the cache."""
    from confide.enclave.build import default_cache
    from confide.enclave.cache import cached_images
    from confide.enclave.image import APP, read_image
    from confide.enclave.image import measurement as measured

    for cached in cached_images(default_cache(os.environ.get("XDG_CACHE_HOME"))):
        if cached.measurement == measurement and measured(image := read_image(cached.folder)) == measurement:
            own = (file for file in image.files if file.path.startswith(f"{APP}/".lstrip("/")))
            return {file.path: file.sha256 for file in own if not file.path.endswith(".pyc")}  # made of them
    return {}


def _show(rows: Any, step: dict[str, Any]) -> None:
    rows.add_row(step["location"], f"serial {step['serial']}, owner {step['owner']}")
    if step["made_by"] is None:
        rows.add_row(
            "",
            "not in this log, or not this owner's: encrypted elsewhere, or before the log had what this needs",
        )
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(step["time"]))
    if step["made_by"] == "owner":
        rows.add_row("encrypted", f"by its owner, {when} UTC, entry {step['entry']}")
        return
    rows.add_row("committed", f"by workload {step['workload']}, {when} UTC, entry {step['entry']}")
    rows.add_row("measurement", f"{step['measurement']} in {step['tee']}{tee_note(step['tee'])}")
    for path, digest in step["code"].items():
        rows.add_row("code", f"{path} SHA-256 {digest}")
    for executor in step["executors"]:
        rows.add_row("with", f"{executor}, a member of its job")
    rows.add_row("could read", _inputs(step["inputs"]))
    if step["writable"]:
        rows.add_row(
            "read back", f"files that no listing has, at {', '.join(step['writable'])}, if any lay there"
        )


def _inputs(versions: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{one['location']} ({one['serial']})" for one in versions) or "nothing"
