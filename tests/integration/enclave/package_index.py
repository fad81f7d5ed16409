"""A package index (PEP 503) on a port of its own, with wheels made here and wheels of installed distributions."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PathDistribution, distribution
from pathlib import Path


def make_wheel(
    name: str, version: str, files: Mapping[str, bytes], record: Iterable[str] = ()
) -> tuple[str, bytes]:
    """Return file name and bytes of a wheel of these files; `record` are further paths that it claims to have."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return _zipped(name, version, "py3-none-any", {**files}, metadata.encode(), record)


def installed_wheel(name: str) -> tuple[str, bytes]:
    """Return file name and bytes of a wheel like the one that was installed here."""
    found = distribution(name)
    assert isinstance(found, PathDistribution)
    tag = next(
        line.removeprefix("Tag: ") for line in (found.read_text("WHEEL") or "").splitlines() if "Tag:" in line
    )
    rows = [row[0] for row in csv.reader((found.read_text("RECORD") or "").splitlines())]
    files = {
        row: Path(str(found.locate_file(row))).read_bytes()
        for row in rows
        if not row.startswith("..") and ".dist-info/" not in row and not row.endswith(".pyc")
    }
    return _zipped(name, found.version, tag, files, (found.read_text("METADATA") or "").encode())


def make_sdist(name: str, version: str, setup: str) -> tuple[str, bytes]:
    """Return file name and bytes of a source distribution whose `setup.py` is `setup`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in {
            "setup.py": setup,
            "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
        }.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", out.getvalue()


def _zipped(
    name: str, version: str, tag: str, files: dict[str, bytes], metadata: bytes, more: Iterable[str] = ()
) -> tuple[str, bytes]:
    stem = f"{name.replace('-', '_')}-{version}"
    files[f"{stem}.dist-info/METADATA"] = metadata
    pure = "true" if tag.endswith("-any") else "false"
    files[f"{stem}.dist-info/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {pure}\nTag: {tag}\n".encode()
    )
    record = "".join(f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in files.items())
    record += "".join(f"{path},,\n" for path in more)
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return f"{stem}-{tag}.whl", out.getvalue()


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class PackageIndex:
    """Serves what was added, until `close`.

    Attributes:
        url: of the index, for installers.
        files: file name -> bytes, to be looked at and spoilt.
        asked: file names that were asked for.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self._pages: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, _, name = self.path.strip("/").partition("/")
                if kind == "simple" and name in index._pages:
                    self._answer(index._page(name), "text/html")
                elif kind == "files" and name in index.files:
                    index.asked.append(name)
                    self._answer(index.files[name], "application/octet-stream")
                else:
                    self.send_error(404)

            def do_HEAD(self) -> None:
                self.send_error(404)

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def add(self, package: str, file: tuple[str, bytes]) -> str:
        """Publish a file; return its name."""
        name, data = file
        self.files[name] = data
        self._pages.setdefault(package, {})[name] = hashlib.sha256(data).hexdigest()
        return name

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _page(self, package: str) -> bytes:
        links = [
            f'<a href="/files/{name}#sha256={sha}">{name}</a>' for name, sha in self._pages[package].items()
        ]
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
