"""Jobs in the store: what members of a mesh join. One that has ended is forgotten when another one opens."""

from __future__ import annotations

from confide.broker.store_records import Records
from confide.errors import NoGrant


class JobRecords(Records):
    """Jobs by identifier."""

    def put_job(self, job: str, document: bytes, expires: int) -> None:
        """Keep a job, in the place of what was kept of it before.

        Args:
            job: its identifier.
            document: sealed; says by itself when the job ends.
            expires: Unix seconds after which it may be forgotten.
        """
        with self._database.transaction():
            self._database.run("DELETE FROM job WHERE expires <= ?", self._clock())
            self._database.run(
                "INSERT INTO job VALUES (?, ?, ?) ON CONFLICT (id)"
                " DO UPDATE SET expires = excluded.expires, sealed = excluded.sealed",
                job,
                expires,
                self._seal("job", job, document),
            )

    def job(self, job: str) -> bytes:
        """Return the document of a job.

        Raises:
            NoGrant: there is none of that identifier.
            Tampered: its cell was changed.
        """
        row = self._database.row("SELECT sealed FROM job WHERE id = ?", job)
        if row is None:
            raise NoGrant(f"no job {job}: unknown, or ended")
        return self._unseal("job", job, row[0])
