"""Client process: attests and asks for a release, again and again; prints the latencies as JSON.

python -m benchmarks.release.client <URL> <authority.pem> <home with the host's key> <measurement> <rounds>
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.attestation.evidence import RuntimeData
from confide.attestation.simulated import STATEMENT_TYP, SimulatedStatement
from confide.broker.client import KbsClient
from confide.canonical import canonical_json
from confide.enclave.simulated.host import host_id, host_key
from confide.keys.signing import sign_jws

PACE_S = 0.08
"""Between the starts of two rounds: a round is three requests, and a broker takes 50 a second from one address."""


def issuer(key: Ed25519PrivateKey, measurement: str) -> Callable[[RuntimeData], dict[str, Any]]:
    """Return what makes a simulated host's evidence of a workload."""

    def issue(runtime_data: RuntimeData) -> dict[str, Any]:
        statement = SimulatedStatement.of(
            measurement=measurement,
            role="driver",
            svn=0,
            debug=False,
            report_data=runtime_data.report_data(),
            host=host_id(key),
        )
        return sign_jws(key, canonical_json(statement.wire()), {"kid": host_id(key), "typ": STATEMENT_TYP})

    return issue


def main() -> None:
    """Each round is what an agent does once: connect, attest, release, close."""
    url, authority, home, measurement, rounds = sys.argv[1:]
    pem = Path(authority).read_bytes()
    issue = issuer(host_key(Path(home)), measurement)
    latencies = []
    for _ in range(int(rounds)):
        start = time.perf_counter()
        client = KbsClient(url, pem)
        release = client.attest("simulated", issue, {}).release()
        client.close()
        latencies.append(time.perf_counter() - start)
        assert release.workload == "bench"
        time.sleep(max(0.0, start + PACE_S - time.perf_counter()))
    print(json.dumps(latencies))


if __name__ == "__main__":
    main()
