"""Commit declared outputs: encrypt them out of the view, commit at the broker, let go of what they replace."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from confide.data.atomic import storage_errors, sync_folder
from confide.data.listing import ListedFile
from confide.data.listing_io import write_copy
from confide.enclave.profile import Context
from confide.errors import NoGrant
from confide.python.encrypt import Output, encrypt_files, encrypt_table
from confide.python.locations import Location
from confide.python.snapshot import Snapshot, changed, snapshot


class WroteElsewhere(NoGrant):
    """The program wrote where nothing is granted; which place is the program's to know, so not public."""

    public = "the program wrote where nothing is granted"


def commit_outputs(locations: Iterable[Location], context: Context, view: Path, before: Snapshot) -> None:
    """Encrypt and commit every output that the program changed; each location is one commit.

    Nothing is encrypted before it is clear that all changes lie in outputs.

    Raises:
        WroteElsewhere: the program changed something elsewhere.
        InvalidFormat: a table that it left is not Parquet.
        Conflict, BrokerUnavailable, ...: from the commit; what was encrypted for it is removed again.
        StorageUnavailable: disk full, permission, I/O.
    """
    after = snapshot(view)
    touched = changed(before, after)
    outputs = [location for location in locations if location.write]
    for path in sorted(touched):
        if not any(location.holds(path) for location in outputs):
            places = ", ".join(location.path for location in outputs) or "nowhere"
            raise WroteElsewhere(
                f"{path} is not a location that the policy lets it write (it may write: {places}); "
                "nothing was committed"
            )
    for location in outputs:
        mine = frozenset(path for path in touched if location.holds(path))
        if mine:
            _commit(location, context, view, sorted(path for path in after if location.holds(path)), mine)


def _commit(
    location: Location, context: Context, view: Path, present: list[str], touched: frozenset[str]
) -> None:
    grant = location.write
    assert grant is not None
    keyset = context.release.keyset()
    listing = grant.listing
    table = (listing.table if listing else grant.table) or secrets.token_hex(16)
    old = listing.files if listing else ()
    target = context.work / location.path
    with storage_errors(f"cannot write {location.path}"):
        target.mkdir(parents=True, exist_ok=True)
        stage = target / f".confide-{secrets.token_hex(8)}.tmp"
        stage.mkdir()
        try:
            output = Output(grant, keyset, table, view, stage)
            if location.is_table:
                files = encrypt_table(output, present)
            else:
                files = encrypt_files(output, present, touched, {file.path: file for file in old})
            new, jws = context.commit(grant.location, table, listing.serial if listing else 0, files)
            _move_in(stage, target, files, old)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        write_copy(target, new, jws, keyset)


def _move_in(stage: Path, target: Path, files: Iterable[ListedFile], old: Iterable[ListedFile]) -> None:
    """Put the new files in place and remove those that the new listing no longer names."""
    names = {file.path for file in files}
    for name in sorted(names):
        if (stage / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).replace(target / name)
            sync_folder((target / name).parent)
    for file in old:
        if file.path not in names:
            with contextlib.suppress(OSError):
                (target / file.path).unlink()
