"""What a piece of evidence needs, fetched anew: by the same way as a broker would look for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import parse_report
from confide.attestation.azure.hcl import HardwareReport, read_hcl
from confide.attestation.endorsements import Endorsements
from confide.attestation.intel.quote import parse_quote, trim_padding
from confide.attestation.ratls.certificate import read_certificate
from confide.attestation.recognize.kinds import Given, GivenAzure, GivenQuote, GivenRatls, GivenReport
from confide.broker.collateral.cache import Cache
from confide.broker.collateral.endorsements import FoundEndorsements
from confide.broker.collateral.files import Found
from confide.broker.collateral.finder import Finder
from confide.broker.collateral.item import AnyItem, Roots
from confide.broker.collateral.memory import CollateralInMemory
from confide.broker.collateral.names import item_named
from confide.broker.collateral.sources import Sources
from confide.errors import EvidenceRefused, Misuse


def gather(
    evidence: Given | None, items: Iterable[AnyItem], sources: Sources, clock: Callable[[], int]
) -> list[Found]:
    """Fetch what evidence needs, and items; all of it is verified.

    Args:
        evidence: None: there is none.
        items: what else to fetch.
        sources: where from.
        clock: Unix seconds.

    Raises:
        CollateralUnavailable: some of it is not to be had.
        EvidenceRefused, InvalidFormat: the evidence does not read.
        Misuse: evidence that needs no collateral.
    """
    store, roots = CollateralInMemory(clock), Roots()
    finder = Finder(Cache(store, clock, roots), sources)
    if evidence is not None:
        _look(evidence, FoundEndorsements(finder, roots))
    for item in items:
        finder.find(item)
    return [Found(item_named(kept.name), kept.document, kept.source) for kept in store.collaterals()]


def _look(evidence: Given, endorsements: Endorsements) -> None:
    if isinstance(evidence, GivenQuote):
        endorsements.intel(parse_quote(evidence.raw))
    elif isinstance(evidence, GivenRatls):
        endorsements.intel(parse_quote(trim_padding(read_certificate(evidence.der).quote)))
    elif isinstance(evidence, GivenReport):
        endorsements.amd(parse_report(evidence.raw), evidence.certificates)
    elif isinstance(evidence, GivenAzure):
        _look_for_azure(evidence, endorsements)
    else:
        raise Misuse("a SIGSTRUCT is verified by itself: there is no collateral for it")


def _look_for_azure(given: GivenAzure, endorsements: Endorsements) -> None:
    hcl, evidence = read_hcl(given.evidence.hcl_report), given.evidence
    if hcl.kind is HardwareReport.SNP:
        certificates = Certificates.from_der(evidence.vcek) if evidence.vcek else Certificates()
        endorsements.amd(parse_report(hcl.hardware_report), certificates)
    elif evidence.td_quote is not None:
        endorsements.intel(parse_quote(trim_padding(evidence.td_quote)))
    else:
        raise EvidenceRefused("Azure evidence", 3, "the TD quote is missing")
