"""`python -m benchmarks verify`: evidence verified per second on one core, dcap-qvl alone beside it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.measure import bootstrap_median, interleave
from benchmarks.options import Options
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, table
from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.verify import verify_report
from confide.attestation.intel import qvl
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import trim_padding
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.intel.verify import verify_quote

QUOTES = Path(__file__).parents[2] / "shared" / "data" / "quotes"
TDX, SGX, SNP = "tdx-v4-uptodate", "sgx-v3-config-swhardening", "snp-v2-milan"
SNP_AT = 1_735_000_000
BAR = 300.0


def run(options: Options) -> Report:
    """Measure and report."""
    if not QUOTES.is_dir():
        raise CommandFailed(f"needs real evidence in {QUOTES}, which is not distributed with the project")
    sides = {
        "TDX": _intel(TDX),
        "TDX, dcap-qvl alone": _dcap_qvl(TDX),
        "SGX": _intel(SGX),
        "SGX, dcap-qvl alone": _dcap_qvl(SGX),
        "SNP": _snp(),
    }
    timed = {name: partial(_per_cpu_second, verify, options.rounds) for name, verify in sides.items()}
    results = interleave(options.runs, timed)
    rows = []
    for name, rates in results.items():
        low, high = bootstrap_median(rates)
        rows.append([name, f"{statistics.median(rates):.0f} [{low:.0f}, {high:.0f}]"])
    measured = statistics.median(results["TDX"])
    return Report(
        title="Verification of evidence",
        tables=(table(["evidence", "verified per CPU second [95 %]"], rows),),
        bars=(Bar("TDX quotes per CPU second", measured, BAR, at_least=True),),
        notes=(
            f"{options.runs} interleaved runs of {options.rounds} verifications each, in one thread. Collateral is in "
            "memory, as a broker has it. dcap-qvl verifies collateral with every quote; `verify_quote` verifies it "
            "by itself once, and dcap-qvl again with every quote.",
        ),
        raw={name: list(rates) for name, rates in results.items()},
    )


def _per_cpu_second(verify: Callable[[], object], rounds: int) -> float:
    verify()
    start = time.process_time()
    for _ in range(rounds):
        verify()
    return rounds / (time.process_time() - start)


def _read(name: str) -> tuple[bytes, Collateral, int]:
    quote = trim_padding((QUOTES / f"{name}.quote.bin").read_bytes())
    collateral = Collateral.from_json((QUOTES / f"{name}.collateral.json").read_bytes())
    expected = json.loads((QUOTES / "expected.json").read_bytes())
    return quote, collateral, expected["intel"][name]["inside"]["now"]


def _intel(name: str) -> Callable[[], object]:
    quote, collateral, now = _read(name)
    return lambda: verify_quote(quote, collateral, now)


def _dcap_qvl(name: str) -> Callable[[], object]:
    quote, collateral, now = _read(name)
    return lambda: qvl.verify(quote, collateral.qvl, now, SGX_ROOT)


def _snp() -> Callable[[], object]:
    report = (QUOTES / f"{SNP}.report.bin").read_bytes()
    certificates = Certificates.from_der((QUOTES / f"{SNP}.vcek.der").read_bytes())
    return lambda: verify_report(report, certificates, SNP_AT)
