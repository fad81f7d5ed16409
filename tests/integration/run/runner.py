"""Runs an image as `confide run` does, so that a test can end this process: argv is one JSON document."""

import json
import signal
import sys
from pathlib import Path

from confide.enclave.run import RunRequest, run

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
given = json.loads(sys.argv[1])
paths = {name: Path(given.pop(name)) for name in ("image", "home", "data_root")}
sys.exit(run(RunRequest(tee="simulated", **paths, **given)))
