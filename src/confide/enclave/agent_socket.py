"""The agent socket: how the workload asks the agent for its release, secrets and commits, and what a job needs.

A Unix stream socket in a folder 0700; one request per connection, one JSON line each way. Only processes of
the agent's own user are answered. Operations::

    {"op": "release"}              -> {"release": {...}, "root": "/work", "scratch": "/scratch"}
    {"op": "secret", "name": N}    -> {"secret": ...}
    {"op": "commit", "location": L, "table": id, "base_serial": n, "files": [...]}
                                   -> {"listing": {...}, "jws": {...}}
    {"op": "refresh"}              -> {"release": {...}}
    {"op": "announce", "driver": "host:port", "application": A}
                                   -> {}
    anything refused               -> {"error": "<class of confide.errors>", "message": "..."}
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from confide.broker.release import Release
from confide.data.listing import MAX_FILES, ListedFile, Listing, TableId
from confide.document import StrictModel
from confide.enclave.launch import ADDRESS, APPLICATION
from confide.enclave.line_socket import MAX_MESSAGE_BYTES, LineSocket
from confide.errors import Misuse, UnknownKey

Commit = Callable[[str, str, int, Sequence[ListedFile]], tuple[Listing, dict[str, str]]]


class ReleaseRequest(StrictModel):
    """Asks for the release."""

    op: Literal["release"]


class SecretRequest(StrictModel):
    """Asks for a per-run secret of the profile."""

    op: Literal["secret"]
    name: Annotated[str, Field(max_length=64)]


class CommitRequest(StrictModel):
    """Commits the complete new list of files of a location."""

    op: Literal["commit"]
    location: Annotated[str, Field(max_length=1024)]
    table: TableId
    base_serial: Annotated[int, Field(ge=0)]
    files: Annotated[tuple[ListedFile, ...], Field(max_length=MAX_FILES, strict=False)]


class RefreshRequest(StrictModel):
    """Asks for the release as policies and listings have it now."""

    op: Literal["refresh"]


class AnnounceRequest(StrictModel):
    """Tells whoever starts a job's other members where its driver listens."""

    op: Literal["announce"]
    driver: Annotated[str, Field(pattern=f"^{ADDRESS}$")]
    application: Annotated[str, Field(pattern=f"^{APPLICATION}$")]


_Request = ReleaseRequest | SecretRequest | CommitRequest | RefreshRequest | AnnounceRequest
_REQUEST: TypeAdapter[_Request] = TypeAdapter(Annotated[_Request, Field(discriminator="op")])


@dataclass(frozen=True)
class JobCalls:
    """What the agent does for the members of a job.

    Attributes:
        refresh: asks the brokers for the release again.
        announce: tells the runner driver (`host:port`) and application.
    """

    refresh: Callable[[], Release]
    announce: Callable[[str, str], None]


class AgentSocket:
    """Serves the agent socket until `close`, in threads of its own.

    Args:
        path: of the socket; its folder must be this process's own and closed to others.
        release: what the workload may do.
        root: the data root inside the enclave.
        scratch: private scratch space.
        secrets: name -> JSON value; read at each request.
        commit: does a commit.
        job: for members of jobs; None: refuses what only they ask.
    """

    def __init__(
        self,
        path: Path,
        release: Release,
        root: str,
        scratch: str,
        secrets: Mapping[str, object],
        commit: Commit,
        job: JobCalls | None = None,
    ) -> None:
        self._release = {"release": release.model_dump(mode="json"), "root": root, "scratch": scratch}
        self._secrets = secrets
        self._commit, self._job = commit, job
        self._commit_lock = threading.Lock()
        self._socket = LineSocket(path, self._answer, MAX_MESSAGE_BYTES)

    def close(self) -> None:
        """Stop answering."""
        self._socket.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        if len(line) > MAX_MESSAGE_BYTES or not line.endswith(b"\n"):
            raise Misuse("a request is one line of at most 64 MiB")
        try:
            request = _REQUEST.validate_json(line)
        except ValidationError:
            raise Misuse("not a request of the agent socket") from None
        match request:
            case ReleaseRequest():
                return self._release
            case SecretRequest():
                if request.name not in self._secrets:
                    raise UnknownKey(f"no secret called {request.name!r}")
                return {"secret": self._secrets[request.name]}
            case CommitRequest():
                with self._commit_lock:
                    listing, jws = self._commit(
                        request.location, request.table, request.base_serial, request.files
                    )
                return {"listing": listing.model_dump(mode="json"), "jws": jws}
            case RefreshRequest():
                return {"release": self._member().refresh().model_dump(mode="json")}
            case AnnounceRequest():
                self._member().announce(request.driver, request.application)
                return {}

    def _member(self) -> JobCalls:
        if self._job is None:
            raise Misuse("this workload is no member of a job")
        return self._job
