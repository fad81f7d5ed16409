"""How long runs of a model take: measured when it is warmed, and held against every run."""

from __future__ import annotations

_WEIGHT = 0.2  # of a new measurement in the moving average


class Cost:
    """What a run is expected to take: a fixed part and one for each row, and how the machine does at present.

    Args:
        base_s: of a run, whatever its rows.
        row_s: of each row.
    """

    def __init__(self, base_s: float, row_s: float) -> None:
        self._base_s, self._row_s = max(base_s, 0.0), max(row_s, 1e-9)
        self._scale = 1.0

    def seconds(self, rows: int) -> float:
        """Return what a run of so many rows is expected to take."""
        return (self._base_s + rows * self._row_s) * self._scale

    def rows_within(self, seconds: float) -> int:
        """Return how many rows fit; may be less than one."""
        return int((seconds / self._scale - self._base_s) / self._row_s)

    def observe(self, rows: int, seconds: float) -> None:
        """Take a run into account."""
        found = seconds / (self._base_s + max(rows, 1) * self._row_s)
        self._scale += _WEIGHT * (found - self._scale)
        self._scale = min(max(self._scale, 1e-3), 1e3)
