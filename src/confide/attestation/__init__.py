"""Evidence in, claims out. Pure: bytes, collateral, policy and `now` are arguments; no socket, no file."""
