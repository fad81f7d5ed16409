"""`confide policy from-evidence`: a policy document to be completed, from what a TEE says of itself."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.cli.hints import advice
from confide.cli.output import plain, say
from confide.cli.verify import (
    FORM_HINT,
    AtOption,
    CertificatesOption,
    CollateralOption,
    FileArgument,
    RevocationOption,
    RootOption,
    claims_of_attestation,
    hardware_trust,
    moment,
    read_input,
)
from confide.cli.verify_hints import hint_on
from confide.errors import AlreadyExists, InvalidFormat, InvalidPolicy, Misuse

if TYPE_CHECKING:
    from confide.attestation.explain.examine import Examination
    from confide.attestation.recognize.kinds import Recognized
    from confide.broker.policy_skeleton import Code


def from_evidence(
    file: FileArgument,
    collateral: CollateralOption = None,
    certificates: CertificatesOption = None,
    owner: Annotated[str | None, typer.Option(help="Whose policy; without: to be filled in.")] = None,
    workload: Annotated[
        str | None, typer.Option(help="Name of the workload; without: to be filled in.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Validity from now on.")] = 365,
    output: Annotated[Path | None, typer.Option(help="File to write, which must not be there yet.")] = None,
    at: AtOption = None,
    revocation_unchecked: RevocationOption = False,
    root: RootOption = None,
) -> None:
    """Write a policy from evidence: exactly this code, on hardware no older than this. The owner fills in the rest.

    Takes what `confide verify` takes, a SIGSTRUCT too. Evidence that does not verify, and debug evidence, is refused.

    Examples:

        confide policy from-evidence quote.bin --collateral collateral.json --owner clinic --output policy.toml

        confide policy from-evidence python.sig --owner clinic --workload readmissions
    """
    from confide.attestation.explain.examine import examine
    from confide.attestation.recognize.encodings import MAX_INPUT_BYTES
    from confide.attestation.recognize.recognize import recognize
    from confide.broker.policy_skeleton import policy_skeleton
    from confide.errors import EvidenceRefused

    now = moment(at)
    data = read_input(file, MAX_INPUT_BYTES)
    with advice(InvalidFormat, FORM_HINT):
        found = recognize(data)
        trust = hardware_trust([*(collateral or []), *(certificates or [])], root)
    result = examine(found, trust, now, revocation_unchecked=revocation_unchecked)
    if result.error is None and result.debug:
        result.error = EvidenceRefused("verdict", 3, "it can be inspected from outside (debug)")
    if result.error is not None:
        if (hint := hint_on(result.error, result, file)) and not getattr(result.error, "__notes__", []):
            result.error.add_note(hint)
        raise result.error
    code = _code(found, result)
    source = f"{result.name}, SHA-256 of the file {hashlib.sha256(data).hexdigest()}"
    try:
        skeleton = policy_skeleton(
            code,
            result.platform,
            source=plain(source).replace("\n", " "),
            owner=owner,
            workload=workload,
            now=int(time.time()),
            days=days,
        )
    except InvalidPolicy as error:
        raise Misuse(f"--owner or --workload is no name: {error.faults[0].reason}") from None
    if output is None:
        typer.echo(skeleton.toml, nl=False)
    else:
        _write(output, skeleton.toml)
    if root is not None:
        say(f"DANGER: the evidence was verified under the root in {root}, in place of Intel's and AMD's")
    name = output or "the document"
    say(f"{name}: fill in line {', '.join(map(str, skeleton.open_lines))}; then: confide policy check FILE")
    for reason in skeleton.refused_here:
        say(f"as it stands, the evidence's own platform is refused: {reason}")


def _code(found: Recognized, result: Examination) -> Code:
    """Return what is known of the code that the evidence is of."""
    from confide.attestation.claims import Tee
    from confide.broker.policy_evidence import code_of
    from confide.broker.policy_skeleton import Code

    if result.tee is None:
        raise Misuse("evidence of no TEE")
    if result.sigstruct is not None:
        fields = {"mrsigner": result.sigstruct.mrsigner.hex()}
        return Code(
            Tee.SGX,
            result.sigstruct.octets("mrenclave").hex(),
            result.sigstruct.number("isv_svn"),
            isv_prod_id=result.sigstruct.number("isv_prod_id"),
            registers=fields,
        )
    if result.platform is None:
        raise Misuse("nothing is known of the platform")
    claims = claims_of_attestation(found, result)
    measurement, svn = code_of(result.tee, result.platform, claims)
    return Code(
        result.tee,
        measurement or "",
        svn,
        claims.role if claims else "driver",
        result.platform.numbers.get("isv_prod_id"),
    )


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise AlreadyExists(f"{file} exists already; choose another --output") from None
    except OSError as error:
        raise Misuse(f"cannot write {file}: {error.strerror}") from None
