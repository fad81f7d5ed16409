"""Client process: attests and asks for a release in many threads at once; prints latencies and failures as JSON.

python -m benchmarks.release.storm <URL> <authority.pem> <home with the host's key> <measurement> <how many>
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.release.client import issuer
from confide.broker.client import KbsClient
from confide.enclave.simulated.host import host_key
from confide.errors import ConfideError


def main() -> None:
    """Every thread does once what the agent of an executor does: connect, attest, release, close."""
    url, authority, home, measurement, many = sys.argv[1:]
    pem = Path(authority).read_bytes()
    issue = issuer(host_key(Path(home)), measurement)
    latencies: list[float] = []
    failures: list[str] = []
    begin = threading.Barrier(int(many))

    def attest() -> None:
        begin.wait()
        start = time.perf_counter()
        try:
            client = KbsClient(url, pem)
            client.attest("simulated", issue, {}).release()
            client.close()
            latencies.append(time.perf_counter() - start)
        except ConfideError as error:
            failures.append(f"{type(error).__name__}: {error}")

    _all(attest, int(many))
    print(json.dumps({"latencies_s": latencies, "failures": failures}))


def _all(act: Callable[[], None], many: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
