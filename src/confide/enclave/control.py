"""The agent's line to the runner outside: states and an exit code go out; notices and the wish to stop come in."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator

from confide import errors
from confide.attestation.evidence import MAX_ATTESTATION_BYTES
from confide.errors import ConfideError

GRACE_SECONDS = 5.0
MAX_NOTICE_BYTES = 4096
MAX_NOTICES = 10_000
_READ_BYTES = 64 * 1024
STOPPED_EXIT_CODE = 130


def reported_name(error: ConfideError) -> str:
    """Return the name of the error's class in `confide.errors`, or of the nearest one there above it."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)


def read_line(descriptor: int, max_bytes: int) -> bytes:
    """Return the bytes up to a line's end or the end of the input, and take none that follow the end of a read.

    What is longer than `max_bytes` comes as the first bytes of it, one more than that.
    """
    line = b""
    while not line.endswith(b"\n") and len(line) <= max_bytes:
        part = os.read(descriptor, max_bytes + 1 - len(line))
        if not part:
            break
        line += part
    return line


class Control:
    """Status lines to the runner. The runner closing its end means: stop.

    Args:
        reader: descriptor that ends when the runner wants a stop; no child process inherits it in turn.
        writer: descriptor that lines go to, which may be the same one.
    """

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._asking, self._saying = threading.Lock(), threading.Lock()
        self._listening = self._asked = False
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        for descriptor in (reader, writer):
            os.set_inheritable(descriptor, False)

    @classmethod
    def over_standard_streams(cls) -> Control:
        """Return the line of an enclave that inherits nothing else, on descriptors of its own."""
        return cls(os.dup(0), os.dup(1))

    def say(self, state: str, **details: object) -> None:
        """Tell the runner the state; a runner that went away is none of the workload's business."""
        line = json.dumps({"state": state, **details}).encode() + b"\n"
        with contextlib.suppress(OSError), self._saying:
            while line:
                line = line[os.write(self._writer, line) :]

    def ask(self, question: str, max_bytes: int, **details: object) -> bytes:
        """Say something that the runner answers by a line of JSON, and return that, empty if it does not."""
        with self._asking:
            if not self._listening:
                self.say(question, **details)
                return read_line(self._reader, max_bytes)
            self._asked = True
            self.say(question, **details)
            return self._answers.get()

    def failed(self, error: ConfideError, keys_released: bool, logged: bool = False) -> None:
        """Tell the runner why it failed: in full before keys were released, coarsely afterwards.

        Args:
            error: why.
            keys_released: whether keys were released.
            logged: whether the sealed log tells it in full.
        """
        message = error.public if keys_released else str(error)
        if logged:
            message += "; the sealed log says it in full"
        self.say("failed", error=reported_name(error), message=message)

    def listen(self, notice: Callable[[str], None]) -> None:
        """From now on pass on what the runner says, and end the workload's processes when it closes its end.

        They get SIGTERM; the profile then returns. If it has not after a while, the agent ends, and the PID
        namespace with it.

        Args:
            notice: takes a line; whatever it says is only the host's word.
        """
        self._listening = True
        signal.signal(signal.SIGTERM, lambda *_: None)
        threading.Thread(target=self._listen, args=(notice,), name="control", daemon=True).start()

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines that come in, until the end; of one that is too long what has come of it."""
        buffer = b""
        while part := os.read(self._reader, _READ_BYTES):
            *lines, buffer = (buffer + part).split(b"\n")
            yield from lines
            if len(buffer) > MAX_ATTESTATION_BYTES:
                yield buffer
                buffer = b""

    def _listen(self, notice: Callable[[str], None]) -> None:
        with contextlib.suppress(OSError):
            told = 0
            for line in self._lines():
                if self._asked and line.startswith(b"{"):  # notices are no JSON
                    self._asked = False
                    self._answers.put(line)
                    continue
                told += 1
                if told <= MAX_NOTICES:
                    notice(line[:MAX_NOTICE_BYTES].decode(errors="backslashreplace").strip())
        self._answers.put(b"")
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(STOPPED_EXIT_CODE)
