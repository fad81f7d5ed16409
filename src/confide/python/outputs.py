"""Commit declared outputs: encrypt them out of the view, commit at the broker, let go of what they replace."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from confide.broker.release import Access
from confide.data.atomic import storage_errors
from confide.data.listing import ListedFile, Listing
from confide.data.listing_io import write_copy
from confide.enclave.profile import Context
from confide.errors import BrokerUnavailable, ConfideError, Conflict, Misuse, NoGrant
from confide.python.encrypt import Output, encrypt_files, encrypt_table
from confide.python.exchange import Exchange, NotCommitted
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
            here = self._view / path
            with storage_errors(f"cannot read {path}"):
                found = snapshot(here, lambda _: True) if here.exists() else {}
            after = {f"{path}/{name}": state for name, state in found.items()}
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
            with storage_errors("cannot read what the program left"):
                after = snapshot(self._view, self._holds)
            touched = changed(self._before, after)
            for path in sorted(touched):
                if not self._holds(path):
                    places = ", ".join(self._outputs) or "nowhere"
                    raise WroteElsewhere(
                        f"{path} is not a location that the policy lets it write (it may write: {places}); "
                        "nothing was committed"
                    )
            for location in self._outputs.values():
                if mine := frozenset(path for path in touched if location.holds(path)):
                    self._commit(location, sorted(path for path in after if location.holds(path)), mine)

    def _holds(self, path: str) -> bool:
        return any(location.holds(path) for location in self._outputs.values())

    def _commit(self, location: Location, present: Sequence[str], touched: frozenset[str]) -> None:
        grant, keyset = location.write, self._context.release.keyset()
        assert grant is not None
        listing = self._listings[location.path]
        table = (listing.table if listing else grant.table) or secrets.token_hex(16)
        old = listing.files if listing else ()
        exchange = Exchange(self._context.work / location.path)
        with storage_errors(f"cannot write {location.path}"):
            stage = exchange.stage()
            try:
                output = Output(grant, keyset, table, self._view, stage)
                if location.is_table:
                    files = encrypt_table(output, present)
                else:
                    files = encrypt_files(output, present, touched, {file.path: file for file in old})
            except BaseException:
                exchange.forget()
                raise

            def commit() -> tuple[Listing, dict[str, str] | None]:
                return self._agree(location.path, table, listing, files)

            new, jws = exchange.run([file.path for file in old], [file.path for file in files], commit)
            self._listings[location.path] = new
            if jws is not None:
                write_copy(exchange.target, new, jws, keyset)

    def _agree(
        self, path: str, table: str, listing: Listing | None, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str] | None]:
        """Commit, and where the answer was lost ask what came of it; then there is no signature to keep a copy of.

        Raises:
            BrokerUnavailable: nobody says what came of it.
            Conflict, ...: nothing was committed.
        """
        base = listing.serial if listing else 0
        try:
            return self._context.commit(path, table, base, files)
        except BrokerUnavailable as lost:
            try:
                grants = self._context.renew().grants
            except ConfideError:
                raise lost from None
            newest = next(
                (g.listing for g in grants if g.location == path and g.access is Access.WRITE), listing
            )
            if newest is None or newest.serial == base:
                raise NotCommitted(f"{path} was not committed: {lost}") from None
            if newest.serial == base + 1 and (newest.table, newest.files) == (table, tuple(files)):
                return newest, None
            raise Conflict(f"{path} is at serial {newest.serial}, not {base}") from None
