"""fsspec file system `sealed`: sealed files on any other file system, for pandas, dask, pyarrow.

    pandas.read_csv("sealed:///data/patients/a.csv", storage_options={"keyset": keyset})

The path is the wrapped file system's own. Sizes in directory lists are those of the sealed files;
`info` and `size` of one file give its plaintext's, authenticated.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import fsspec
from fsspec.spec import AbstractFileSystem

from confide.data.listing import Format, ListedFile, Listing
from confide.data.sealed import SealedReader, SealedWriter
from confide.errors import FileUnlisted, Misuse
from confide.keys.material import Keyset
from confide.keys.names import KeyName


def register() -> None:
    """Make `sealed://` known to fsspec; nothing is imported until it is used."""
    fsspec.register_implementation("sealed", f"{__name__}.SealedFileSystem", clobber=True)


class SealedFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """Reads and writes sealed files of another file system.

    Args:
        keyset: the keys held.
        key: `owner/name`, wraps the data keys of files that are written.
        folder: id of the folder: read files must belong to it, written ones do.
        listing: if given, only its files are read, each as it says; `root` is where it lies.
        root: path of the listing's location in the wrapped file system.
        target_protocol: the wrapped file system.
        target_options: its options.
    """

    protocol = "sealed"
    cachable = False  # instances hold keys
    root_marker = ""

    def __init__(
        self,
        *,
        keyset: Keyset,
        key: str | None = None,
        folder: str | None = None,
        listing: Listing | None = None,
        root: str = "",
        target_protocol: str = "file",
        target_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if listing is not None and listing.format is not Format.FILES:
            raise Misuse("not the listing of sealed files")
        self.fs = fsspec.filesystem(target_protocol, **(target_options or {}))
        self._keyset = keyset
        self._key = None if key is None else KeyName.parse(key)
        self._folder = listing.table if listing is not None else folder
        self._listed = None if listing is None else {file.path: file for file in listing.files}
        self._root = root.rstrip("/")

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).removeprefix("sealed://")

    def _open(self, path: str, mode: str = "rb", **_options: Any) -> SealedReader | SealedWriter:
        if mode == "rb":
            return self._open_to_read(path)
        if mode not in ("wb", "xb"):
            raise Misuse(f"a sealed file is not opened in mode {mode!r}")
        if self._key is None or self._folder is None:
            raise Misuse("writing sealed files needs `key` and `folder`")
        if self._listed is not None:
            raise Misuse("a location opened by its listing is read only")
        file: BinaryIO = self.fs.open(path, mode)
        try:
            return SealedWriter(file, self._keyset, self._key, self._folder, close_file=True)
        except BaseException:
            file.close()
            raise

    def _open_to_read(self, path: str) -> SealedReader:
        listed = self._entry(path)
        file: BinaryIO = self.fs.open(path, "rb")
        try:
            return SealedReader(
                file,
                self._keyset,
                expected_folder=self._folder,
                expected_binding=None if listed is None else listed.binding,
                close_file=True,
            )
        except BaseException:
            file.close()
            raise

    def _entry(self, path: str) -> ListedFile | None:
        if self._listed is None:
            return None
        name = path.removeprefix(self._root + "/")
        if name not in self._listed:
            raise FileUnlisted(f"{name} is not in the listing")
        return self._listed[name]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Return a file's or folder's details; a file's size is its plaintext's."""
        path = self._strip_protocol(path)
        found: dict[str, Any] = dict(self.fs.info(path, **options))
        if found.get("type") == "file":
            with self._open_to_read(path) as reader:
                found["size"] = reader.size
        return found

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        """List a folder of the wrapped file system."""
        return self.fs.ls(self._strip_protocol(path), detail=detail, **options)

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy a sealed file as it is."""
        self.fs.cp_file(self._strip_protocol(path1), self._strip_protocol(path2), **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        """Move a sealed file as it is."""
        self.fs.mv(self._strip_protocol(path1), self._strip_protocol(path2), **options)

    def _rm(self, path: str) -> None:
        self.fs.rm_file(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files or folders."""
        self.fs.rm(self._strip_protocol(path), recursive=recursive, maxdepth=maxdepth)

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Make a folder."""
        self.fs.mkdir(self._strip_protocol(path), create_parents=create_parents, **options)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and its parents."""
        self.fs.makedirs(self._strip_protocol(path), exist_ok=exist_ok)
