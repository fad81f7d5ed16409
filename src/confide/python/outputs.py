"""Commit declared outputs: encrypt them out of the view, commit at the broker, let go of what they replace."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from confide.data.atomic import storage_errors, sync_folder
from confide.data.listing import ListedFile, Listing
from confide.data.listing_io import write_copy
from confide.enclave.profile import Context
from confide.errors import Misuse, NoGrant
from confide.python.encrypt import Output, encrypt_files, encrypt_table
from confide.python.locations import Location
from confide.python.snapshot import Snapshot, changed, snapshot


class WroteElsewhere(NoGrant):
    """The program wrote where nothing is granted; which place is the program's to know, so not public."""

    public = "the program wrote where nothing is granted"


class Outputs:
    """The outputs of a run, each location one commit.

    Args:
        locations: all of the run.
        context: of the run.
        view: where the program leaves its files, at paths that begin with the location.
        before: what lay there when it started.
    """

    def __init__(self, locations: Iterable[Location], context: Context, view: Path, before: Snapshot) -> None:
        self._outputs = {location.path: location for location in locations if location.write}
        self._listings = {
            path: location.write.listing for path, location in self._outputs.items() if location.write
        }
        self._context, self._view, self._before = context, view, dict(before)
        self._lock = threading.Lock()

    def commit(self, path: str) -> int:
        """Commit a location of sealed files as it lies there now, while the program runs on; return its serial.

        Raises:
            NoGrant: it may not be written.
            Misuse: it is a table's, or holds something else than files.
            Conflict, BrokerUnavailable, ...: from the commit.
            StorageUnavailable: disk full, permission, I/O.
        """
        if path not in self._outputs:
            raise NoGrant(f"{path} is not a location that the policy lets the program write")
        location = self._outputs[path]
        if location.is_table:
            raise Misuse(f"{path} is a table: it is committed when the program ends")
        with self._lock:
            with storage_errors(f"cannot read {path}"):
                after = {f"{path}/{name}": state for name, state in snapshot(self._view / path).items()}
            mine = {name: state for name, state in self._before.items() if location.holds(name)}
            if touched := changed(mine, after):
                self._commit(location, sorted(after), frozenset(touched))
                self._before = {n: s for n, s in self._before.items() if n not in mine} | after
            listing = self._listings[path]
            return 0 if listing is None else listing.serial

    def commit_changed(self) -> None:
        """Commit every output that the program changed since it was last committed.

        Nothing is encrypted before it is clear that all changes lie in outputs.

        Raises:
            WroteElsewhere: the program changed something elsewhere.
            InvalidFormat: a table that it left is not Parquet.
            Conflict, BrokerUnavailable, ...: from the commit; what was encrypted for it is removed again.
            StorageUnavailable: disk full, permission, I/O.
        """
        with self._lock:
            after = snapshot(self._view)
            touched = changed(self._before, after)
            for path in sorted(touched):
                if not any(location.holds(path) for location in self._outputs.values()):
                    places = ", ".join(self._outputs) or "nowhere"
                    raise WroteElsewhere(
                        f"{path} is not a location that the policy lets it write (it may write: {places}); "
                        "nothing was committed"
                    )
            for location in self._outputs.values():
                if mine := frozenset(path for path in touched if location.holds(path)):
                    self._commit(location, sorted(path for path in after if location.holds(path)), mine)

    def _commit(self, location: Location, present: Sequence[str], touched: frozenset[str]) -> None:
        grant, keyset = location.write, self._context.release.keyset()
        assert grant is not None
        listing = self._listings[location.path]
        table = (listing.table if listing else grant.table) or secrets.token_hex(16)
        old = listing.files if listing else ()
        target = self._context.work / location.path
        with storage_errors(f"cannot write {location.path}"):
            target.mkdir(parents=True, exist_ok=True)
            stage = target / f".confide-{secrets.token_hex(8)}.tmp"
            stage.mkdir()
            try:
                output = Output(grant, keyset, table, self._view, stage)
                if location.is_table:
                    files = encrypt_table(output, present)
                else:
                    files = encrypt_files(output, present, touched, {file.path: file for file in old})
                new, jws = self._exchange(location, table, listing, files, stage)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
            self._listings[location.path] = new
            write_copy(target, new, jws, keyset)

    def _exchange(
        self,
        location: Location,
        table: str,
        listing: Listing | None,
        files: Sequence[ListedFile],
        stage: Path,
    ) -> tuple[Listing, dict[str, str]]:
        """Commit, and put the new files in the place of the old ones.

        At every moment the newest listing's files lie in place or in the stage, where `roll_forward` finds those of a
        run that was killed, and in place lies none that is in neither listing.
        """
        target = self._context.work / location.path
        new_names = {file.path for file in files}
        gone = [file.path for file in (listing.files if listing else ()) if file.path not in new_names]
        _move(gone, target, stage)
        try:
            new, jws = self._context.commit(location.path, table, listing.serial if listing else 0, files)
        except BaseException:
            _move(gone, stage, target)
            raise
        # Those that were taken over from the old listing lie there.
        _move(sorted(name for name in new_names if (stage / name).exists()), stage, target)
        return new, jws


def _move(names: Collection[str], source: Path, target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (source / name).replace(target / name)
    for folder in {(target / name).parent for name in names}:
        sync_folder(folder)
