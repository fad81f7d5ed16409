"""The state of an Intel platform's trusted computing base: the worst of its parts.

A platform, the TDX module on it and the quoting enclave are judged separately; a TD of version 1.5 also twice, by the
module that it was launched under and by the one that runs now. Source: Intel SGX and TDX Provisioning Certification
Service, API version 4, "tcbStatus".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confide.attestation.claims import Tcb
from confide.attestation.intel.pck import Pck
from confide.errors import InvalidFormat

_OUTDATED, _CONFIGURATION, _HARDENING = 1, 2, 4
_NEEDS = {
    "UpToDate": 0,
    "SWHardeningNeeded": _HARDENING,
    "ConfigurationNeeded": _CONFIGURATION,
    "ConfigurationAndSWHardeningNeeded": _CONFIGURATION | _HARDENING,
    "OutOfDate": _OUTDATED,
    "OutOfDateConfigurationNeeded": _OUTDATED | _CONFIGURATION,
    # Launched under an outdated module that was updated since: as outdated as the launch.
    "TDRelaunchAdvised": _OUTDATED,
    "TDRelaunchAdvisedConfigurationNeeded": _OUTDATED | _CONFIGURATION,
}
_STATUS = {
    0: "UpToDate",
    _HARDENING: "SWHardeningNeeded",
    _CONFIGURATION: "ConfigurationNeeded",
    _CONFIGURATION | _HARDENING: "ConfigurationAndSWHardeningNeeded",
    _OUTDATED: "OutOfDate",
    _OUTDATED | _HARDENING: "OutOfDate",
    _OUTDATED | _CONFIGURATION: "OutOfDateConfigurationNeeded",
    _OUTDATED | _CONFIGURATION | _HARDENING: "OutOfDateConfigurationNeeded",
}


@dataclass(frozen=True)
class Level:
    """A TCB level that a part of the platform meets.

    Attributes:
        status: as Intel words it.
        date: Unix seconds.
        advisories: that it is open to.
    """

    status: str
    date: int
    advisories: tuple[str, ...]

    @property
    def outdated(self) -> bool:
        """Whether Intel has fixed something since its date that it lacks."""
        return bool(needs(self.status) & _OUTDATED)


def needs(status: str) -> int:
    """Return what a status says is missing, as bits.

    Raises:
        InvalidFormat: it is "Revoked", or no status that is known.
    """
    if status not in _NEEDS:
        raise InvalidFormat(f"TCB status {status}")
    return _NEEDS[status]


def worst(statuses: Iterable[str]) -> str:
    """Return the status that says everything that one of `statuses` says is missing. Raises InvalidFormat."""
    missing = 0
    for status in statuses:
        missing |= needs(status)
    return _STATUS[missing]


def tcb_of(claims: Mapping[str, Any], pck: Pck) -> Tcb:
    """Return the state from dcap-qvl's claims of a verified quote.

    In dcap-qvl's own verdict the quoting enclave counts only where it is out of date; here every part counts. The date
    is the oldest one of the parts that are out of date: grace counts from there. The TDX module is part of its levels
    of the platform already: status, advisories, and the older date.

    Raises:
        InvalidFormat: a status that is not known.
    """
    platform, current = claims["platform"]["tcb_level"], claims["platform"]["current_tcb_level"]
    levels = [read_level(each) for each in (platform, current, claims["qe"]["tcb_level"]) if each is not None]
    evaluation = min(claims["tcb"]["eval_data_number"], claims["qe"]["tcb_eval_data_number"])
    return tcb_of_levels(levels, evaluation, pck, claims["tcb"]["status"])


def tcb_of_levels(levels: Sequence[Level], evaluation: int, pck: Pck, *verdicts: str) -> Tcb:
    """Return the state from the levels that the parts meet, the platform's first, and verdicts beside them.

    Raises:
        InvalidFormat: a status that is not known.
    """
    outdated = [level for level in levels if level.outdated]
    return Tcb(
        status=worst([*verdicts, *(level.status for level in levels)]),
        advisories=tuple(sorted({name for level in levels for name in level.advisories})),
        date=min(level.date for level in outdated or levels[:1]),
        evaluation=evaluation,
        smt=pck.smt,
        dynamic_platform=pck.dynamic_platform,
        cached_keys=pck.cached_keys,
    )


def read_level(level: Mapping[str, Any]) -> Level:
    """Return a level as Intel writes it."""
    date = datetime.fromisoformat(level["tcbDate"])
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return Level(level["tcbStatus"], int(date.timestamp()), tuple(level.get("advisoryIDs", ())))
