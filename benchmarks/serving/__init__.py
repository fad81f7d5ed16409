"""Serving of a small model against other servers."""
