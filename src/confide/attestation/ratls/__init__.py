"""RA-TLS: X.509 certificates that carry evidence of the TEE which made their key."""
