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
from confide.errors import MeasurementRefused, PlatformRefused

_NOT_ASKED = "The certificate of its VCEK, which did not come with it, is not asked for"


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
            MeasurementRefused: no policy in force is for TEEs of AMD's.
            PlatformRefused: none lists its measurement, or not with its chip.
            CollateralUnavailable: there are none.
        """
        if given.endorsement is None:
            self._check_approved(report)
        return self._endorsements.amd(report, given)

    def _check_approved(self, report: Report) -> None:
        now = self._clock()
        demanded = [
            workload.platform
            for policy in self._policies()
            if policy.valid_at(now)
            for workload in policy.workload
            if workload.tee in AMD and workload.platform is not None
        ]
        if not demanded:
            raise MeasurementRefused(f"SNP report: no policy in force is for TEEs of AMD's. {_NOT_ASKED}")
        measurement, chip = report.octets("measurement").hex(), report.octets("chip_id").hex()
        listing = [each for each in demanded if measurement in each.registers.get("measurement", ())]
        if not listing:
            raise PlatformRefused(
                f"platform, step 4: measurement is {measurement}, which no policy in force lists. {_NOT_ASKED}"
            )
        if not any(each.hardware_ids is None or chip in each.hardware_ids for each in listing):
            raise PlatformRefused(
                f"platform, step 3: hardware id {chip} is not listed in any policy in force. {_NOT_ASKED}"
            )


def for_workloads(
    hardware: HardwareTrust, policies: Callable[[], Iterable[Policy]], clock: Callable[[], int]
) -> HardwareTrust:
    """Return what evidence of workloads is anchored to: the same, asked for approved reports only."""
    return replace(hardware, endorsements=ApprovedReports(hardware.endorsements, policies, clock))
