"""The Python profile: ordinary programs between decrypted inputs and encrypted outputs."""
