"""The key management client that Parquet's key tools call: for one table, and for it alone."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet.encryption as pe

from confide.data.key_identifier import identifier, unwrap, version_in
from confide.errors import ConfideError, StorageUnavailable, Tampered
from confide.keys.material import Keyset
from confide.keys.names import KeyName


class TableKms(pe.KmsClient):
    """Wraps and unwraps the data keys of one table's files.

    pyarrow turns exceptions of a client into its own, so the first one is kept: see `translated`.
    """

    def __init__(self, keyset: Keyset, table: str) -> None:
        super().__init__()
        self._keyset, self._table = keyset, table
        self._unwrapped: dict[tuple[str, str], bytes] = {}
        self.error: ConfideError | None = None

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        """Wrap a data key; called by pyarrow when it writes."""
        with self._kept():
            version = version_in(master_key_identifier, self._table)
            context = master_key_identifier.encode()
            used, wrapped = self._keyset.wrap(version.key, key_bytes, context)
            if used != version:
                raise Tampered(f"{version} is not the current version of its key")
            return base64.b64encode(wrapped).decode()

    def unwrap_key(  # type: ignore[override]  # the stubs say str; pyarrow wants bytes
        self, wrapped_key: str, master_key_identifier: str
    ) -> bytes:
        """Unwrap a data key; called by pyarrow when it reads, several times for each."""
        known = (wrapped_key, master_key_identifier)
        if known not in self._unwrapped:
            with self._kept():
                self._unwrapped[known] = unwrap(self._keyset, self._table, wrapped_key, master_key_identifier)
        return self._unwrapped[known]

    def current(self, name: KeyName) -> str:
        """Return the identifier that wraps new data keys of `name`. Raises UnknownKey, RevokedKey."""
        return identifier(self._keyset.key(name).current_version(), self._table)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except ConfideError as error:
            self.error = self.error or error
            raise


@contextmanager
def translated(kms: TableKms, what: str) -> Iterator[None]:
    """Turn pyarrow's errors, and those of `kms` that pyarrow hid, into ours; `what` names the file.

    Raises:
        UnknownKey, RevokedKey, Tampered, FileChanged, InvalidFormat: as the client raised them.
        StorageUnavailable: the operating system refused a read or write.
        Tampered: anything else that pyarrow cannot read, the file being encrypted.
    """
    kms.error = None
    try:
        yield
    except ConfideError as error:
        if error is not kms.error:
            raise
        raise type(error)(f"{what}: {error}") from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if kms.error is not None:
            raise type(kms.error)(f"{what}: {kms.error}") from None
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageUnavailable(f"{what}: {error.strerror}") from error
        raise Tampered(f"{what} cannot be decrypted: it was changed, or is damaged") from error
