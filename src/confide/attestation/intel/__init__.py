"""Evidence of Intel SGX and TDX: quotes, the collateral that they are verified with, TDX event logs, SIGSTRUCTs."""
