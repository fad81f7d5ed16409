"""Sealed files: a header that names the wrapped data key, and a body in Tink's streaming AEAD.

Format: docs/formats/sealed-file.md.
"""

from confide.data.sealed_header import MAGIC, SealedHeader, binding, read_header
from confide.data.sealed_reader import SealedReader
from confide.data.sealed_writer import SealedWriter

__all__ = ["MAGIC", "SealedHeader", "SealedReader", "SealedWriter", "binding", "read_header"]
