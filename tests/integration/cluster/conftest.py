"""A job with executors in enclaves of their own; everything is real but the TEE."""

from ..run.conftest import cache, new_owner, new_site, other_authority, site, small_spark

__all__ = ["cache", "new_owner", "new_site", "other_authority", "site", "small_spark"]
