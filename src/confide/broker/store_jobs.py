"""Jobs in the store: what members of a mesh join. When one opens, those that have ended are forgotten, members too."""

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

    def add_member(self, job: str, name: str, most: int) -> None:
        """Note that a member of that name joined an open job, as one of `most` at most.

        Raises:
            NoGrant: one of that name did, or so many did.
        """
        with self._database.transaction():
            if not self._database.run(
                "INSERT INTO job_member VALUES (?, ?) ON CONFLICT DO NOTHING", job, name
            ):
                raise NoGrant(f"{name!r} has joined job {job} already")
            if self._database.row("SELECT count(*) FROM job_member WHERE job = ?", job)[0] > most:
                raise NoGrant(f"{most} members have joined job {job}, and no more may")

    def members(self, job: str) -> list[str]:
        """Return the names of those who joined a job, sorted."""
        rows = self._database.rows("SELECT name FROM job_member WHERE job = ? ORDER BY name", job)
        return [name for (name,) in rows]

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
