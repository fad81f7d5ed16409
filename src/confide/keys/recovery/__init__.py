"""Recovery of a store's root key by k of n owners. Format: docs/formats/recovery.md."""
