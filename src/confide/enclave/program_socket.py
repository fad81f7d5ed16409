"""What a program of the profile `python` may ask the agent: tables that it reads itself, to commit an output, and to
show how far it is.

It never gets a named key: the agent unwraps the data keys of the files of these tables, and of no others.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from confide.data.key_identifier import MAX_IDENTIFIER_CHARS, unwrap
from confide.data.listing import Listing
from confide.document import StrictModel
from confide.enclave.image import RUN, SITE
from confide.enclave.line_socket import LineSocket, ask
from confide.errors import Misuse, NoGrant
from confide.keys.material import Keyset
from confide.keys.names import KeyVersion

FOLDER = f"{RUN}/program"
"""Where the program finds the socket."""
SOCKET = "agent.sock"
MAX_REQUEST_BYTES = 8 * 1024
MAX_STEPS = 1_000_000
SHOWN_S = 1.0
"""So often progress is shown, and once more when it has come to its end; what comes between is left out."""

_Location = Annotated[str, Field(min_length=1, max_length=1024)]


class TableRequest(StrictModel):
    """Asks where the files of a table lie, and for their listing."""

    op: Literal["table"]
    location: _Location


class UnwrapRequest(StrictModel):
    """Asks for a data key of one of the table's files."""

    op: Literal["unwrap"]
    location: _Location
    identifier: Annotated[str, Field(max_length=MAX_IDENTIFIER_CHARS)]
    wrapped: Annotated[str, Field(max_length=256)]


class CommitRequest(StrictModel):
    """Has an output encrypted and committed as it lies there now."""

    op: Literal["commit"]
    location: _Location


class ProgressRequest(StrictModel):
    """Has the operator shown how far the program is: these two numbers and nothing else."""

    op: Literal["progress"]
    done: Annotated[int, Field(ge=0, le=MAX_STEPS)]
    total: Annotated[int, Field(ge=1, le=MAX_STEPS)]


_Request = TableRequest | UnwrapRequest | CommitRequest | ProgressRequest
_REQUEST: TypeAdapter[_Request] = TypeAdapter(Annotated[_Request, Field(discriminator="op")])


@dataclass(frozen=True)
class StreamedTable:
    """A table that the program reads itself.

    Attributes:
        folder: where the program finds its encrypted files.
        listing: of the release.
        keys: names of the keys that were released for it.
        keyset: holds these keys.
    """

    folder: Path
    listing: Listing
    keys: frozenset[str]
    keyset: Keyset

    def readable(self, column: str) -> bool:
        """Return whether the key of a column was released."""
        return self.listing.columns.get(column, self.listing.key) in self.keys


class ProgramSocket:
    """Serves the program until `close`.

    Args:
        folder: for the socket; made here.
        tables: location -> table; others are refused.
        commit: commits an output and returns the serial of its new listing.
        progress: shows the operator steps that are done, and how many there are.
    """

    def __init__(
        self,
        folder: Path,
        tables: Mapping[str, StreamedTable],
        commit: Callable[[str], int],
        progress: Callable[[int, int], None],
    ) -> None:
        folder.mkdir(mode=0o700)
        self._tables, self._commit, self._progress = tables, commit, progress
        self._showing, self._shown = threading.Lock(), (0, 0, -SHOWN_S)
        self._socket = LineSocket(folder / SOCKET, self._answer, MAX_REQUEST_BYTES)

    def close(self) -> None:
        """Stop answering."""
        self._socket.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        if len(line) > MAX_REQUEST_BYTES or not line.endswith(b"\n"):
            raise Misuse(f"a request is one line of at most {MAX_REQUEST_BYTES} bytes")
        try:
            request = _REQUEST.validate_json(line)
        except ValidationError:
            raise Misuse("not a request of a program") from None
        match request:
            case TableRequest():
                table = self._table(request.location)
                listing = table.listing.model_dump(mode="json")
                return {"folder": str(table.folder), "listing": listing, "keys": sorted(table.keys)}
            case UnwrapRequest():
                table = self._table(request.location)
                key = unwrap(table.keyset, table.listing.table, request.wrapped, request.identifier)
                return {"key": base64.b64encode(key).decode()}
            case CommitRequest():
                return {"serial": self._commit(request.location)}
            case ProgressRequest():
                self._show(request.done, request.total)
                return {}

    def _show(self, done: int, total: int) -> None:
        """Show progress, seldom: numbers of a program's choosing go to the operator, and are to carry little."""
        if done > total:
            raise Misuse(f"{done} of {total} steps")
        with self._showing:
            now, (before, of, at) = time.monotonic(), self._shown
            ended = done == total == of and before < of
            if ended or now - at >= SHOWN_S:
                self._shown = done, total, now
                self._progress(done, total)

    def _table(self, location: str) -> StreamedTable:
        if location not in self._tables:
            raise NoGrant(
                f"{location} is none of the tables that the program declares to read itself: "
                f'`# stream = ["{location}"]` in its [tool.confide] block'
            )
        return self._tables[location]


class AgentKeyset(Keyset):
    """Unwraps the data keys of one table by asking the agent, each once.

    Args:
        location: of the table.
        socket: of the agent.
    """

    def __init__(self, location: str, socket: Path) -> None:
        super().__init__({})
        self._location, self._socket = location, socket
        self._unwrapped: dict[tuple[bytes, bytes], bytes] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_unwrapped": {}}  # another process asks for itself

    def unwrap(self, version: KeyVersion, wrapped: bytes, context: bytes) -> bytes:  # noqa: ARG002 - in `context`
        """Unwrap a data key of a file of the table."""
        known = (wrapped, context)
        if known not in self._unwrapped:
            asked = {
                "op": "unwrap",
                "location": self._location,
                "identifier": context.decode(),
                "wrapped": base64.b64encode(wrapped).decode(),
            }
            self._unwrapped[known] = base64.b64decode(ask(self._socket, asked)["key"], validate=True)
        return self._unwrapped[known]


def inside_image() -> bool:
    """Return whether this code is an image's, which lies where no other does: measured, not told by the host."""
    return Path(__file__).is_relative_to(SITE)


def streamed_table(location: str, socket: Path = Path(FOLDER, SOCKET)) -> StreamedTable:
    """Return a table that this program reads itself.

    Raises:
        NoGrant: it did not declare that.
        Unavailable: there is no agent that says so.
    """
    answer = ask(socket, {"op": "table", "location": location})
    listing = Listing.model_validate(answer["listing"])
    return StreamedTable(
        Path(answer["folder"]), listing, frozenset(answer["keys"]), AgentKeyset(location, socket)
    )


def commit_output(location: str, socket: Path = Path(FOLDER, SOCKET)) -> int:
    """Have the agent encrypt and commit an output as it lies there now; return the serial of its listing.

    Raises:
        NoGrant: the policy does not let this program write there.
        Conflict, BrokerUnavailable, ...: from the commit; what was committed before stays.
    """
    return int(ask(socket, {"op": "commit", "location": location})["serial"])


def show_progress(done: int, total: int, socket: Path = Path(FOLDER, SOCKET)) -> None:
    """Show the operator how far this program is.

    Raises:
        Misuse: not numbers of steps.
        Unavailable: there is no agent that shows it.
    """
    ask(socket, {"op": "progress", "done": done, "total": total})
