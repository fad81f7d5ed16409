"""Flink, hardened against plain."""
