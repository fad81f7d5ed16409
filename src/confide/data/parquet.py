"""Encrypted tables: Parquet Modular Encryption under named keys. Format: docs/formats/table.md."""

from confide.data.key_identifier import identifier, parse_identifier
from confide.data.parquet_kms import TableKms
from confide.data.parquet_reader import EncryptedFile, TableReader
from confide.data.parquet_tail import Tail, read_tail
from confide.data.parquet_writer import FileSizes, TableKeys, write_table

__all__ = [
    "EncryptedFile",
    "FileSizes",
    "TableKeys",
    "TableKms",
    "TableReader",
    "Tail",
    "identifier",
    "parse_identifier",
    "read_tail",
    "write_table",
]
