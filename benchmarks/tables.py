"""TPC-H tables: generated, encrypted for an owner, and copied in clear with the very same layout.

The encrypted tables come first; the plain copy follows their cut into files and row groups, so that a ratio
compares encryption and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from benchmarks.owner import KEY, NAME, Owner
from benchmarks.workspace import cache

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


def generated(scale: float) -> Path:
    """Return the cached folder with `<table>.parquet` of TPC-H at a scale factor."""
    folder = cache() / f"tpch-{scale:g}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        tool = Path(sys.executable).with_name("tpchgen-cli")
        subprocess.run(
            [
                tool,
                "parquet",
                f"--scale-factor={scale:g}",
                f"--output-dir={partial}",
                "--overwrite",
                "--quiet",
            ],
            check=True,
        )
        partial.rename(folder)
    return folder


def encrypt_tables(owner: Owner, source: Path, tables: Iterable[str] = TABLES) -> None:
    """Encrypt `<source>/<table>.parquet` into the owner's `tpch/<table>`."""
    for table in tables:
        owner.confide("encrypt", source / f"{table}.parquet", f"tpch/{table}", "--key", KEY)


def copy_plain(owner: Owner, target: Path, tables: Iterable[str] = TABLES) -> None:
    """Decrypt the owner's `tpch/<table>` into `<target>/tpch/<table>`: same files, row groups and compression."""
    from confide.broker.home import Home
    from confide.data.parquet import TableKms
    from confide.keys.material import Keyset
    from confide.keys.names import KeyName

    with Home.open(owner.home, owner.passphrase()) as home:
        key = home.store.key(KeyName.parse(KEY))
        for table in tables:
            location = f"tpch/{table}"
            stored = home.store.listing_at(NAME, location)
            assert stored is not None
            kms = TableKms(Keyset({key.name: key}), stored.listing.table)
            factory = pe.CryptoFactory(_always(kms))
            (target / location).mkdir(parents=True)
            for file in stored.listing.files:
                properties = factory.file_decryption_properties(pe.KmsConnectionConfig())
                with pq.ParquetFile(
                    owner.folder / location / file.path, decryption_properties=properties
                ) as old:
                    _same_layout(old, target / location / file.path)


def _always(kms: pe.KmsClient) -> Callable[[pe.KmsConnectionConfig], pe.KmsClient]:
    return lambda _connection: kms


def plain_tables(source: Path, target: Path, tables: Iterable[str] = TABLES) -> None:
    """Copy the generated tables without any encrypted ones to follow: for runs of the plain side alone."""
    for table in tables:
        (target / "tpch" / table).mkdir(parents=True)
        with pq.ParquetFile(source / f"{table}.parquet") as old:
            _same_layout(old, target / "tpch" / table / "part-00000.zstd.parquet")


def _same_layout(old: pq.ParquetFile, path: Path) -> None:
    with pq.ParquetWriter(path, old.schema_arrow, compression="zstd") as new:
        for index in range(old.num_row_groups):
            group = old.read_row_group(index)
            new.write_table(group, row_group_size=max(1, group.num_rows))
