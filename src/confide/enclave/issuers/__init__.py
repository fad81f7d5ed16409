"""Issuers of hardware evidence: one file for each way in which a TEE gives evidence to a program inside it."""
