"""Options that all benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How much to measure.

    Attributes:
        runs: interleaved runs of each side.
        scale: TPC-H scale factor.
        cold: a TPC-H run is one pass over the queries, with none before it to warm up.
        file_bytes: size of the file that is encrypted.
        sort_bytes: size of what Spark sorts.
        rounds: attest-and-release rounds of one run, and proofs.
        audit_entries: sizes of the audit log.
        plain_only: leave out what needs a working `confide run`.
    """

    runs: int = 5
    scale: float = 1.0
    cold: bool = False
    file_bytes: int = 2 * 1000**3
    sort_bytes: int = 5 * 1000**3
    rounds: int = 300
    audit_entries: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    plain_only: bool = False


QUICK = Options(
    runs=2,
    scale=0.01,
    file_bytes=20 * 1000**2,
    sort_bytes=50 * 1000**2,
    rounds=10,
    audit_entries=(100, 1_000),
)
"""Shows that everything runs; measures nothing."""
