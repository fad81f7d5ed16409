"""Run unmodified programs on encrypted data; keys go only to attested code."""

__version__ = "0.1.0.dev0"
