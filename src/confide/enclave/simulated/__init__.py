"""The TEE called `simulated`: same code path, same refusals, protects nothing."""
