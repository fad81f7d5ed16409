"""Jobs in the store: what members of a mesh join. One that has ended is forgotten when another one opens."""

from __future__ import annotations

from confide.broker.store_records import Records
from confide.errors import NoGrant


class JobRecords(Records):
    """Jobs by identifier."""

    def open_job(self, job: str, document: bytes, expires: int) -> None:
        """Keep a new job.

        Args:
            job: its identifier.
            document: sealed; says by itself when the job ends.
            expires: Unix seconds after which it may be forgotten.

        Raises:
            NoGrant: it is open already.
        """
        with self._database.transaction():
            self._database.run("DELETE FROM job WHERE expires <= ?", self._clock())
            if not self._database.run(
                "INSERT INTO job VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                job,
                expires,
                self._seal("job", job, document),
            ):
                raise NoGrant(f"job {job} is open already")

    def put_job(self, job: str, document: bytes) -> None:
        """Keep what is known of a job now, in the place of what was kept of it before."""
        with self._database.transaction():
            self._database.run(
                "UPDATE job SET sealed = ? WHERE id = ?", self._seal("job", job, document), job
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
