"""The agent's line to the runner outside: states and an exit code go out, the wish to stop comes in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time

from confide.errors import ConfideError

GRACE_SECONDS = 5.0
STOPPED_EXIT_CODE = 130


class Control:
    """Status lines to the runner. The runner closing its end means: stop.

    Args:
        descriptor: inherited from the launcher; no child process inherits it in turn.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)

    def say(self, state: str, **details: int | str) -> None:
        """Tell the runner the state; a runner that went away is none of the workload's business."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps({"state": state, **details}).encode() + b"\n")

    def failed(self, error: ConfideError, keys_released: bool) -> None:
        """Tell the runner why it failed: in full before keys were released, coarsely afterwards."""
        message = error.public if keys_released else str(error)
        self.say("failed", error=type(error).__name__, message=message)

    def stop_on_request(self) -> None:
        """From now on end the workload's processes when the runner closes its end.

        They get SIGTERM; the profile then returns. If it has not after a while, the agent ends, and the PID
        namespace with it.
        """
        signal.signal(signal.SIGTERM, lambda *_: None)
        threading.Thread(target=self._wait_for_stop, name="control", daemon=True).start()

    def _wait_for_stop(self) -> None:
        with contextlib.suppress(OSError):
            while self._socket.recv(1):
                pass
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(STOPPED_EXIT_CODE)
