"""The error tree: every failure that `confide` reports is one of three kinds.

::

    ConfideError
    ├── Refused                      a rule said no; trying again will not help
    │   ├── KeyRefused               81  no key for you
    │   │   ├── UnknownKey           82
    │   │   ├── RevokedKey           83
    │   │   └── NoGrant              84  the policy does not allow this key, location or access
    │   ├── AttestationRefused       85  evidence, nonce or session not accepted
    │   │   ├── EvidenceRefused      98  a numbered step of a verifier failed
    │   │   ├── MeasurementRefused   86  genuine evidence of code that no policy allows
    │   │   └── PlatformRefused      97  genuine evidence of a platform that the policy does not accept
    │   ├── PolicyRefused            87  signature, owner, validity
    │   │   └── Rollback             88  an older policy or listing than the newest known
    │   ├── SignatureRefused         89  a call not signed by the owner it speaks for
    │   ├── Tampered                 90  data does not authenticate
    │   │   ├── FileChanged          91  bytes or size differ, or the file is another one
    │   │   ├── FileMissing          92  listed, not there
    │   │   └── FileUnlisted         93  there, not listed
    │   ├── NotEncrypted             94  plain data where encrypted data is expected
    │   ├── LaunchRefused            95  launch arguments outside their grammar, settings that would weaken
    │   ├── WrongPassphrase          96
    │   └── ProviderRefused          99  a key provider does not serve this key: missing, unsuited, not permitted
    ├── Unavailable                  something needed is not there now; trying again may help
    │   ├── BrokerUnavailable        71  down, slow, cut off
    │   ├── BrokerUntrusted          72  its certificate is not the pinned one
    │   ├── StorageUnavailable       73  disk full, permission, I/O
    │   ├── MissingDependency        74  a program, library or extra is not installed
    │   ├── CollateralUnavailable    76  certificates, CRLs or TCB data of the platform: missing, expired
    │   ├── ProviderUnavailable      77  a key provider does not answer: token not there, server down or sealed
    │   └── Conflict                 75  someone else changed it meanwhile
    └── Misuse                       64  the request makes no sense as it stands
        ├── InvalidPolicy            65  the document has faults; all are listed
        ├── InvalidImage             66
        │   └── NotLocked            69  it declares dependencies, and no lock fits them
        ├── InvalidFormat            67  not a file of this format
        └── AlreadyExists            68  refuses to overwrite

The number is the exit code of the command line (docs/exit-codes.md); a workload's own exit code passes
through unchanged. What crosses the wire is the class name and `public` only; details stay in the owner's
log. Advice ("hint: ...") belongs to the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ConfideError(Exception):
    """Root of every error `confide` raises on purpose.

    Attributes:
        exit_code: process exit code of the command line.
        http_status: status the broker answers with.
        public: the sentence that may cross the wire; says nothing about secrets or other owners.
    """

    exit_code: ClassVar[int] = 70
    http_status: ClassVar[int] = 500
    public: ClassVar[str] = "internal error"


class Refused(ConfideError):
    """A rule said no."""

    exit_code = 80
    http_status = 403
    public = "refused"


class KeyRefused(Refused):
    """The key is not released."""

    exit_code = 81
    public = "key not released"


class UnknownKey(KeyRefused):
    """No key of that name or version."""

    exit_code = 82
    http_status = 404
    public = "unknown key"


class RevokedKey(KeyRefused):
    """The key, or this version of it, was revoked by its owner."""

    exit_code = 83
    public = "key revoked"


class NoGrant(KeyRefused):
    """No policy grants this key, location or kind of access to this workload."""

    exit_code = 84
    public = "no policy grants this"


class AttestationRefused(Refused):
    """Evidence, nonce, session or token was not accepted."""

    exit_code = 85
    http_status = 401
    public = "attestation refused"


class MeasurementRefused(AttestationRefused):
    """The evidence is genuine, but no valid policy names this measurement."""

    exit_code = 86
    http_status = 403
    public = "no policy allows this measurement"


class EvidenceRefused(AttestationRefused):
    """A verifier refuses evidence at one of its numbered steps.

    Attributes:
        evidence: what was verified, for instance `SNP report`.
        step: number of the step in the verifier's docstring and in docs/attestation.md, from 1.
        reason: why it failed.
    """

    exit_code = 98
    public = "evidence refused"
    evidence, step, reason = "", 0, ""  # of a refusal that was told by its name

    def __init__(self, evidence: str, step: int, reason: str) -> None:
        super().__init__(f"{evidence}, step {step}: {reason}")
        self.evidence = evidence
        self.step = step
        self.reason = reason


class PlatformRefused(AttestationRefused):
    """The evidence is genuine, but the policy does not accept the platform: its TCB, firmware, chip or settings."""

    exit_code = 97
    http_status = 403
    public = "no policy accepts this platform"


class PolicyRefused(Refused):
    """A policy with a bad signature, of another owner, or outside its validity."""

    exit_code = 87
    public = "policy refused"


class Rollback(PolicyRefused):
    """An older policy or listing than the newest one known."""

    exit_code = 88
    http_status = 409
    public = "older than the newest known"


class SignatureRefused(Refused):
    """A call that is not signed by the owner it speaks for."""

    exit_code = 89
    public = "not signed by the owner"


class Tampered(Refused):
    """Data that does not authenticate."""

    exit_code = 90
    http_status = 400
    public = "data does not authenticate"


class FileChanged(Tampered):
    """A file's bytes or size differ from what was written, or another file stands in its place."""

    exit_code = 91


class FileMissing(Tampered):
    """A file that the signed listing names is not there."""

    exit_code = 92


class FileUnlisted(Tampered):
    """A file that the signed listing does not name."""

    exit_code = 93


class NotEncrypted(Refused):
    """Plain data where encrypted data is expected, or the reverse."""

    exit_code = 94
    http_status = 400
    public = "not encrypted as expected"


class LaunchRefused(Refused):
    """Launch arguments outside their measured grammar, or settings that would weaken the protection."""

    exit_code = 95
    http_status = 400
    public = "launch refused"


class WrongPassphrase(Refused):
    """The passphrase (or PIN, or secret id) does not open the root key."""

    exit_code = 96
    http_status = 401
    public = "wrong passphrase"


class ProviderRefused(Refused):
    """A key provider does not serve this key: it is missing, unsuited, or the caller is not permitted."""

    exit_code = 99
    public = "key provider refuses"


class Unavailable(ConfideError):
    """Something needed is not there now."""

    exit_code = 70
    http_status = 503
    public = "unavailable"


class BrokerUnavailable(Unavailable):
    """The broker does not answer, or not in time."""

    exit_code = 71


class BrokerUntrusted(Unavailable):
    """The broker's certificate does not chain to the pinned authority."""

    exit_code = 72


class StorageUnavailable(Unavailable):
    """Disk full, permission denied, I/O error."""

    exit_code = 73


class MissingDependency(Unavailable):
    """A program, library or extra that is not installed."""

    exit_code = 74


class CollateralUnavailable(Unavailable):
    """What evidence is verified against (certificates, CRLs, TCB data) is missing or has expired."""

    exit_code = 76
    public = "no valid collateral for this platform"


class ProviderUnavailable(Unavailable):
    """A key provider does not answer: its token is not there, its server is down, sealed or not itself."""

    exit_code = 77
    public = "key provider unavailable"


class Conflict(Unavailable):
    """Someone else changed the same thing meanwhile."""

    exit_code = 75
    http_status = 409
    public = "changed meanwhile"


class Misuse(ConfideError):
    """The request makes no sense as it stands."""

    exit_code = 64
    http_status = 400
    public = "bad request"


@dataclass(frozen=True)
class Fault:
    """One fault of a document: its line (from 1), the field, and what is wrong with it."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.reason}"


class InvalidPolicy(Misuse):
    """A policy document with faults; `faults` lists every one with its line."""

    exit_code = 65
    public = "invalid policy"
    faults: tuple[Fault, ...] = ()

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class InvalidImage(Misuse):
    """An image that cannot be built or read."""

    exit_code = 66
    public = "invalid image"


class NotLocked(InvalidImage):
    """A program declares dependencies, and its lock is missing, does not fit, or cannot be made."""

    exit_code = 69


class InvalidFormat(Misuse):
    """Bytes that are not of the format they are read as."""

    exit_code = 67
    public = "invalid format"


class AlreadyExists(Misuse):
    """Something of that name is there already, and is not overwritten."""

    exit_code = 68
    http_status = 409
    public = "already exists"


def told(name: object, message: str) -> ConfideError | None:
    """Return an error that another process told by the name of its class; None where there is no such class."""
    kind = globals().get(name) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, ConfideError)):
        return None
    error = kind.__new__(kind)
    Exception.__init__(error, message)  # whatever else a class is made from was not told
    return error
