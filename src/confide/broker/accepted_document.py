"""The document by which clients accept a workload that is a server, from the owner's policy.

Its validity and its expressions for launch parameters are left to the broker, which holds them against each server
before it gives it any key; clients do not check them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import tomlkit

from confide.attestation.claims import Tee
from confide.broker.accepted_server import AcceptedServer
from confide.broker.policy import Policy
from confide.broker.store_keys import KeySummary
from confide.errors import Misuse

ROLE = "driver"


def accepted_document(
    policy: Policy,
    workload: str,
    hosts: Sequence[bytes],
    keys: Sequence[KeySummary],
    kind: type[AcceptedServer],
) -> str:
    """Return the document (TOML): what the policy demands of a workload, demanded by its clients.

    Args:
        policy: in force.
        workload: its name there.
        hosts: raw public keys of the enrolled hosts; of the TEE simulated only.
        keys: that are known here; no version of a key for requests that was revoked is accepted.
        kind: of document.

    Raises:
        Misuse: the policy has no such workload, or that takes no requests.
    """
    found = [each for each in policy.workload if each.name == workload and each.role == ROLE]
    if not found:
        names = ", ".join(each.name for each in policy.workload)
        raise Misuse(f"no workload {workload!r} in the policy of {policy.owner} (there are: {names})")
    said = found[0]
    if said.requests is None:
        raise Misuse(f"workload {workload} has no key for requests: `confide policy allow ... --requests`")
    document = tomlkit.document()
    document.add(
        tomlkit.comment(f"Servers of {workload}, as {policy.owner} approved them (serial {policy.serial}).")
    )
    values: dict[str, Any] = {
        "version": 1,
        "tee": str(said.tee),
        "measurements": list(said.measurements),
        "minimum_svn": said.minimum_svn,
    }
    if "requests" in kind.model_fields:
        values["requests"] = said.requests
        values["minimum_version"] = min(
            (
                version.version
                for key in keys
                if str(key.name) == said.requests
                for version in key.versions
                if version.revoked is None
            ),
            default=1,
        )
    if said.tee is Tee.SIMULATED:
        values["hosts"] = [base64.b64encode(host).decode() for host in hosts]
    if said.platform is not None:
        values["platform"] = said.platform.model_dump(mode="json", exclude_defaults=True)
    document.update(values)
    text = document.as_string()
    kind.from_toml(text.encode())  # whatever does not read back is not handed out
    return text
