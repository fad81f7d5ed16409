"""Measurements behind docs/performance.md: each prints ratios against the peer it names, from interleaved runs."""
