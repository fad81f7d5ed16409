"""Which SNP reports endorsements are looked for: those that a policy in force could accept.

A report is not verified before its chip's certificate is there, which AMD's service hands out slowly. Whoever makes
reports up would use that up for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Report
from confide.attestation.endorsements import Endorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote
from confide.attestation.requirements import AMD
from confide.attestation.trust import HardwareTrust
from confide.broker.policy import Policy
from confide.errors import PlatformRefused


class ApprovedReports:
    """Endorsements for workloads; implements `confide.attestation.endorsements.Endorsements`.

    Args:
        endorsements: finds them.
        policies: returns the newest policy of every owner.
        clock: Unix seconds.
    """

    def __init__(
        self, endorsements: Endorsements, policies: Callable[[], Iterable[Policy]], clock: Callable[[], int]
    ) -> None:
        self._endorsements = endorsements
        self._policies = policies
        self._clock = clock

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform.

        Raises:
            CollateralUnavailable: there is none.
        """
        return self._endorsements.intel(quote)

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report that came with its own, or that a policy in force could accept.

        Raises:
            PlatformRefused: no such policy lists its measurement, or not with its chip.
            CollateralUnavailable: there are none.
        """
        now = self._clock()
        if given.endorsement is None and not any(
            _lists(policy, report) for policy in self._policies() if policy.valid_at(now)
        ):
            raise PlatformRefused(
                f"SNP report: no policy in force lists measurement {report.octets('measurement').hex()} with its chip, "
                "so the certificate of its VCEK, which did not come with it, is not asked for"
            )
        return self._endorsements.amd(report, given)


def for_workloads(
    hardware: HardwareTrust, policies: Callable[[], Iterable[Policy]], clock: Callable[[], int]
) -> HardwareTrust:
    """Return what evidence of workloads is anchored to: the same, asked for approved reports only."""
    return replace(hardware, endorsements=ApprovedReports(hardware.endorsements, policies, clock))


def _lists(policy: Policy, report: Report) -> bool:
    measurement, chip = report.octets("measurement").hex(), report.octets("chip_id").hex()
    return any(
        workload.tee in AMD
        and measurement in workload.platform.registers.get("measurement", ())
        and (workload.platform.hardware_ids is None or chip in workload.platform.hardware_ids)
        for workload in policy.workload
        if workload.platform is not None
    )
