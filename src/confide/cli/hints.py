"""Advice for each kind of error: shown after `hint:` on the command line, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confide import errors

_HINTS: dict[type[errors.ConfideError], str] = {
    errors.UnknownKey: "`confide key list` shows the keys there are; `confide key create owner/name` makes one.",
    errors.RevokedKey: "a revoked key does not come back; data under it stays closed. Encrypt again under a new key.",
    errors.NoGrant: "the owner allows a location with a [[grant]] in the policy: `confide policy allow PROGRAM "
    "--read LOCATION --write LOCATION=KEY`.",
    errors.KeyRefused: "`confide audit` on the owner's side says which rule refused.",
    errors.MeasurementRefused: "the owner approves this exact program with `confide policy allow PROGRAM` and "
    "`confide policy apply policy.toml`; if it was approved before, something in it changed since.",
    errors.CollateralUnavailable: "where evidence is verified, `confide collateral show` tells what is missing or has "
    "expired, and `confide collateral fetch` gets it (docs/collateral.md); `confide audit` there has the details.",
    errors.PlatformRefused: "`confide audit` on the owner's side names step and value; [workload.platform] of the "
    "policy says what is accepted, docs/attestation.md what each status means.",
    errors.EvidenceRefused: "docs/attestation.md lists the numbered steps, what they mean and their usual causes; "
    "`confide verify` takes evidence apart.",
    errors.AttestationRefused: "a broker takes evidence of an enrolled host or TPM only (`confide broker "
    "enroll-host`); `simulated` and `tpm` also need a broker started with --allow-simulated or --allow-tpm, and "
    "a policy that names them.",
    errors.Rollback: "raise `serial` above the newest one (`confide policy show` tells it). If you did not put an old "
    "document back, someone else did.",
    errors.PolicyRefused: "`confide audit --kind refusal` on the owner's side says why; `confide policy check FILE` "
    "tells of faults, and whether it is valid now; then raise `serial` and `confide policy apply FILE`.",
    errors.SignatureRefused: "a change to owner/... must be signed by the key pinned when that owner enrolled.",
    errors.FileChanged: "restore this file from your own copy, or encrypt the table again.",
    errors.FileMissing: "restore the file; the signed listing says it belongs here.",
    errors.FileUnlisted: "remove the file from the folder; nothing signed says it belongs here.",
    errors.Tampered: "the bytes are not what was written under these keys: restore them from your own copy.",
    errors.NotEncrypted: "`confide encrypt SOURCE TARGET --key owner/name` makes an encrypted copy.",
    errors.LaunchRefused: "declare what may vary in the program's [tool.confide] block, build again and approve again; "
    "hardened settings cannot be changed.",
    errors.WrongPassphrase: "give the passphrase (or the PIN or token of the key provider) of `confide init`, at the "
    "prompt or with --passphrase-fd.",
    errors.ProviderRefused: "docs/key-providers.md says what each key provider needs, and how to set it up.",
    errors.ProviderUnavailable: "is the token plugged in, or the server up, unsealed and reachable from this machine? "
    "docs/key-providers.md says what each key provider needs.",
    errors.BrokerUnavailable: "is the broker running and reachable? `curl -k URL/confide/v1/jwks` from "
    "this machine tells.",
    errors.BrokerUntrusted: "the broker's certificate is not from the authority pinned here: ask the owner for the "
    "right --broker-ca file; never skip this check.",
    errors.StorageUnavailable: "free some space, or check the folder's permissions; where the store is in PostgreSQL, "
    "whether the server runs and lets this machine in (docs/store.md). Nothing half-written was left.",
    errors.MissingDependency: "`confide doctor` lists what is missing and how to get it.",
    errors.Conflict: "someone else committed first: look at the result and run again.",
    errors.InvalidPolicy: "mend the lines named above; docs/formats/policy.md has every field.",
    errors.AlreadyExists: "choose another name; nothing was overwritten.",
    errors.InvalidFormat: "is this the right file? `confide inspect PATH` says what it is. A CSV file must be UTF-8 "
    "(`iconv -f LATIN1 -t UTF-8 OLD > NEW`); `confide encrypt --help` tells of --delimiter and --type.",
}


@contextlib.contextmanager
def advice(cls: type[errors.ConfideError], hint: str | None) -> Iterator[None]:
    """Give errors of `cls` from the block this hint instead of their class's; None: leave them as they are."""
    try:
        yield
    except cls as error:
        if hint is not None:
            error.add_note(hint)
        raise


def hint_for(error: errors.ConfideError) -> str | None:
    """Return the advice for `error`: its own, or that of its class or the nearest class above; None without."""
    own: list[str] = getattr(error, "__notes__", [])
    if own:
        return own[0]
    for cls in type(error).__mro__:
        if cls in _HINTS:
            return _HINTS[cls]
    return None
