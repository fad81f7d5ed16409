"""The `python` profile: any Python program; inputs opened for it, outputs sealed after it."""
