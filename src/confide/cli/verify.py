"""`confide verify`: take evidence apart, verify it, and say what it all means."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from confide.cli.hints import advice
from confide.cli.output import emit
from confide.cli.verify_hints import hint_on
from confide.errors import (
    EvidenceRefused,
    InvalidFormat,
    Misuse,
)

if TYPE_CHECKING:
    from confide.attestation.claims import Claims
    from confide.attestation.explain.examine import Examination
    from confide.attestation.explain.verdict import Verdict
    from confide.attestation.given import GivenEndorsements
    from confide.attestation.recognize.kinds import Recognized
    from confide.attestation.trust import HardwareTrust
    from confide.broker.policy_evidence import Match

_MAX_AT = 2**40
FORM_HINT = (
    "evidence goes to FILE; what it is verified with to --collateral (Intel) and --certificates (AMD). "
    "docs/formats/verify.md lists every form."
)

FileArgument = Annotated[
    Path,
    typer.Argument(
        help="Quote, SNP report, RA-TLS certificate, KBS or Azure evidence (JSON), SIGSTRUCT; binary, hex, base64 or "
        "PEM. `-`: standard input."
    ),
]
CollateralOption = Annotated[
    list[Path] | None,
    typer.Option(help="Intel's collateral: JSON, or the files that Intel's service sends; repeat."),
]
CertificatesOption = Annotated[
    list[Path] | None, typer.Option(help="AMD's certificates and CRL, PEM or DER; repeat.")
]
EventLogOption = Annotated[
    Path | None,
    typer.Option(help="Event log of a TD (CCEL), to be replayed against the quote's RTMRs."),
]
AtOption = Annotated[
    str | None, typer.Option(help="Verify for this time: Unix seconds or RFC 3339. Default: now.")
]
RevocationOption = Annotated[
    bool,
    typer.Option(
        "--revocation-unchecked",
        help="AMD: verify although no CRL was given. Whoever has a key that AMD revoked can make such evidence.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--dangerously-trust-root",
        help="Certificate of a root to trust INSTEAD of Intel's and AMD's: whoever has its key can make any evidence.",
    ),
]


def verify(
    file: FileArgument,
    collateral: CollateralOption = None,
    certificates: CertificatesOption = None,
    event_log: EventLogOption = None,
    at: AtOption = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy document whose [workload.platform] must accept it too.")
    ] = None,
    tee: Annotated[
        str | None,
        typer.Option(help="Refuse evidence of any other TEE: sgx, tdx, snp, az-snp-vtpm, az-tdx-vtpm."),
    ] = None,
    accept_status: Annotated[
        list[str] | None,
        typer.Option(help="TCB status (Intel) to accept beside UpToDate, without a policy; repeat."),
    ] = None,
    revocation_unchecked: RevocationOption = False,
    root: RootOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/formats/verify.md).")] = False,
) -> None:
    """Explain evidence of a TEE, and verify it: every field, the certificates, the state of the platform, each step.

    Exits 0 only if it is genuine, not of a debug TEE, of an accepted TCB status (Intel) and, with --policy, accepted by
    that. Of AMD's TCB only a policy judges.
    Else: 67 not evidence, 76 no valid collateral, 98 refused, 97 platform not accepted, 86 measurement not in the
    policy.

    Examples:

        confide verify quote.bin --collateral collateral.json

        confide verify quote.bin --collateral collateral.json --event-log /sys/firmware/acpi/tables/data/CCEL

        confide verify report.bin --certificates vcek.der --certificates crl --policy policy.toml

        curl -s https://kbs.example/evidence | confide verify - --json
    """
    from confide.attestation.explain.examine import examine
    from confide.attestation.explain.verdict import judge
    from confide.attestation.recognize.encodings import MAX_INPUT_BYTES
    from confide.attestation.recognize.recognize import recognize

    now = moment(at)
    accepted = _statuses(accept_status or [])
    expected = _tee(tee)
    data = read_input(file, MAX_INPUT_BYTES)
    with advice(InvalidFormat, FORM_HINT):
        found = recognize(data) if event_log is None else _with_log(recognize(data), event_log)
        trust = hardware_trust([*(collateral or []), *(certificates or [])], root)
    matched: list[Match] = []
    check = None if policy is None else _policy_check(policy, found, now, matched)
    result = examine(found, trust, now, revocation_unchecked=revocation_unchecked)
    if root is not None:
        result.notes.insert(0, f"DANGER: trusted is the root in {root}, in place of Intel's and AMD's")
    if expected is not None and result.error is None and result.tee is not expected:
        result.error = EvidenceRefused("verdict", 1, f"of {result.tee}, not of {expected} as --tee demands")
    verdict = judge(result, bound=found.runtime_data is not None, accepted=accepted, policy=check)
    if result.debug:
        _explain_debug(result)
    hint = None if verdict.error is None else hint_on(verdict.error, result, file)
    if json:
        emit(_document(file, data, found, result, verdict, matched, hint, now))
    else:
        _show(file, data, found, result, verdict, matched, hint, now)
    if verdict.error is not None:
        raise typer.Exit(verdict.error.exit_code)


def _with_log(found: Recognized, file: Path) -> Recognized:
    from confide.attestation.intel.event_log import MAX_LOG_BYTES
    from confide.attestation.recognize.kinds import GivenQuote

    given = found.evidence
    if not isinstance(given, GivenQuote) or given.event_log is not None:
        raise Misuse("--event-log goes with a TD's quote that comes without one")
    return replace(found, evidence=replace(given, event_log=read_input(file, MAX_LOG_BYTES)))


def moment(text: str | None) -> int:
    """Return a time given as Unix seconds or RFC 3339; now, where there is none.

    Raises:
        Misuse: neither.
    """
    if text is None:
        return int(time.time())
    try:
        if text.isascii() and text.isdigit():
            seconds = int(text)
        else:
            parsed = datetime.fromisoformat(text)
            if parsed.tzinfo is None:
                raise Misuse(f"--at {text!r} is of no time zone: write for instance 2026-01-31T12:00:00Z")
            seconds = int(parsed.timestamp())
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _MAX_AT:
        raise Misuse(f"--at {text!r} is neither Unix seconds nor RFC 3339, for instance 2026-01-31T12:00:00Z")
    return seconds


def read_input(file: Path, most: int) -> bytes:
    """Return at most one byte more than `most` of a file, or of standard input (`-`).

    Raises:
        Misuse: it cannot be read.
    """
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(most + 1)
        with file.open("rb") as stream:
            return stream.read(most + 1)
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror or type(error).__name__}") from None
    except ValueError:
        raise Misuse("cannot read a file of that name") from None


def hardware_trust(files: Sequence[Path], root: Path | None) -> HardwareTrust:
    """Return what evidence is verified against: endorsements in files, and roots.

    Raises:
        Misuse: a file cannot be read.
        InvalidFormat: a file holds no endorsements, or the root is no certificate.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from confide.attestation.amd.report import Product
    from confide.attestation.recognize.encodings import MAX_INPUT_BYTES
    from confide.attestation.recognize.endorsements import read_endorsements
    from confide.attestation.trust import HardwareTrust
    from confide.certificates import MAX_CERTIFICATE_BYTES, load_certificate

    given: GivenEndorsements = read_endorsements(
        (str(file), read_input(file, MAX_INPUT_BYTES)) for file in files
    )
    if root is None:
        return HardwareTrust(given)
    certificate = load_certificate(read_input(root, MAX_CERTIFICATE_BYTES))
    der = certificate.public_bytes(Encoding.DER)
    given = replace(given, chain=(*given.chain, certificate))
    return HardwareTrust(given, der, dict.fromkeys(Product, hashlib.sha256(der).hexdigest()))


def claims_of_attestation(found: Recognized, result: Examination) -> Claims | None:
    """Return the claims of a whole attestation that was verified; None where only evidence was given.

    Raises:
        AttestationRefused: evidence and attestation do not say which image runs.
    """
    from pydantic import ValidationError

    from confide.attestation.evidence import RuntimeData
    from confide.attestation.hardware import claims_of

    if found.runtime_data is None or result.platform is None or result.tee is None:
        return None
    try:
        runtime = RuntimeData.model_validate(dict(found.runtime_data))
    except ValidationError:
        result.notes.append("runtime data of another client of the KBS protocol: its image is not compared")
        return None
    return claims_of(result.tee, result.platform, runtime)


def _statuses(names: Sequence[str]) -> tuple[str, ...]:
    from confide.attestation.requirements import STATUSES

    for name in names:
        if name not in STATUSES:
            raise Misuse(f"--accept-status {name!r}: not one of {', '.join(STATUSES)}")
    return tuple(names)


def _tee(name: str | None) -> Any:
    from confide.attestation.claims import Tee

    known = [each.value for each in Tee if each.confidential]
    if name is not None and name not in known:
        raise Misuse(f"--tee {name!r}: not one of {', '.join(known)}")
    return None if name is None else Tee(name)


def _policy_check(
    file: Path, found: Recognized, now: int, matched: list[Match]
) -> Callable[[Examination], None]:
    from confide.broker.policy import MAX_POLICY_BYTES, parse_policy
    from confide.broker.policy_evidence import match_policy
    from confide.cli.verify_text import iso

    policy = parse_policy(read_input(file, MAX_POLICY_BYTES))

    def check(result: Examination) -> None:
        if result.platform is None or result.tee is None:
            raise Misuse(
                "a SIGSTRUCT says nothing of a platform, so no policy can accept it; leave --policy out"
            )
        if not policy.valid_at(now):
            result.notes.append(
                "the policy is not valid at that time, but from "
                f"{iso(int(policy.not_before.timestamp()))} to {iso(int(policy.not_after.timestamp()))}"
            )
        claims = claims_of_attestation(found, result)
        match = match_policy(policy, result.tee, result.platform, claims, now)
        matched.append(match)
        result.notes.append(f"policy of {policy.owner}: workload {match.workload.name} accepts it")
        if not match.measured:
            result.notes.append(
                "the image that the guest's agent runs is stated in its attestation, and was not compared here"
            )

    return check


def _explain_debug(result: Examination) -> None:
    from confide.attestation.explain.verdict import debug_cure

    result.notes.append(
        "debug: the hardware is what it says, and whoever runs it can read and change everything inside. No key is "
        f"released to it, whatever a policy says. For evidence that counts, {debug_cure(result.tee)}"
    )


def _input(file: Path, data: bytes, found: Recognized) -> dict[str, Any]:
    return {
        "file": str(file),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "encoding": found.encoding,
        "padding": found.padding,
    }


def _document(
    file: Path,
    data: bytes,
    found: Recognized,
    result: Examination,
    verdict: Verdict,
    matched: Sequence[Match],
    hint: str | None,
    now: int,
) -> Mapping[str, Any]:
    error = verdict.error
    platform = result.platform
    verifications = [*result.verifications, verdict.verification]
    return {
        "format": "confide-verify",
        "version": 1,
        "verified": error is None,
        "error": None if error is None else type(error).__name__,
        "message": None if error is None else str(error),
        "hint": hint,
        "exit_code": 0 if error is None else error.exit_code,
        "at": now,
        "input": _input(file, data, found),
        "kind": result.kind,
        "name": result.name,
        "tee": result.tee,
        "debug": result.debug,
        "groups": [asdict(group) for group in result.groups],
        "certificates": [asdict(link) for link in result.links],
        "collateral": [asdict(part) for part in result.validity],
        "tcb": None if result.tcb is None else asdict(result.tcb),
        "platform": None
        if platform is None
        else {
            "registers": dict(platform.registers),
            "numbers": dict(platform.numbers),
            "hardware_ids": list(platform.hardware_ids),
            "tcb_components": dict(platform.tcb.components),
            "expires": platform.expires,
        },
        "verifications": [asdict(verification) for verification in verifications],
        "policy": [
            {"workload": match.workload.name, "role": match.workload.role, "measured": match.measured}
            for match in matched
        ],
        "notes": result.notes,
    }


def _show(
    file: Path,
    data: bytes,
    found: Recognized,
    result: Examination,
    verdict: Verdict,
    matched: Sequence[Match],
    hint: str | None,
    now: int,
) -> None:
    from confide.cli.verify_text import show

    del matched  # the notes say it
    facts = _input(file, data, found)
    given = [f"{facts['file']}: {facts['bytes']} bytes, {facts['encoding']}", f"sha256 {facts['sha256']}"]
    if found.padding:
        given.append(f"{found.padding} zero bytes behind it were left out")
    show(result, verdict, given=given, at=now, hint=hint)
