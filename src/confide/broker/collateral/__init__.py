"""Collateral of hardware TEEs: fetched from its publishers, checked, kept in the store, renewed before it expires."""
