"""The decision: which keys and grants verified claims earn under the owners' policies. Pure.

Whoever wants to know why a key was or was not released reads `decide`; the numbers are those of
docs/formats/policy.md. Every refusal's text is for the owners' log; on the wire goes its class alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from confide.attestation.appraise import appraise
from confide.attestation.claims import Claims, Tee
from confide.broker.compose import GrantedLocation, Keys, Listings, compose
from confide.broker.expressions import matches
from confide.broker.locations import overlap
from confide.broker.policy import Policy, PolicyGrant, Workload
from confide.broker.release import Access, Consent, Release
from confide.errors import (
    AttestationRefused,
    LaunchRefused,
    MeasurementRefused,
    NoGrant,
    PlatformRefused,
    PolicyRefused,
)
from confide.keys.names import KeyName

RELEASE_TTL_S = 24 * 3600


def left_s(release: Release, now: float) -> float:
    """Return for how many seconds from `now` (Unix seconds) a release holds, whatever it says of itself."""
    return min(max(release.expires - now, 0.0), RELEASE_TTL_S)


@dataclass(frozen=True)
class Participant:
    """An owner who takes part: a valid policy, its workload of the claims' measurement, and the grants for it."""

    owner: str
    workload: Workload
    grants: tuple[PolicyGrant, ...]
    ends: int


def decide(claims: Claims, policies: Iterable[Policy], keys: Keys, listings: Listings, now: int) -> Release:
    """Decide what the workload receives.

    1. The evidence is not of a TEE that can be inspected (debug).
    2. A policy within its validity names the measurement, with this TEE and this role.
    3. The security version is at least every such policy's minimum, and the platform is what each demands.
    4. The launch parameters match every such policy's expressions.
    5. Of these owners, those who grant the workload something, or name a key for requests to it, take part; they
       agree on its name. Where the image names owners, nobody else is asked or heard (from step 2 on); where it names
       none, one owner alone takes part.
    6. No location is granted by two owners, none lies inside another.
    7. Every owner who takes part consents to every location that is written, and to the keys for logs and requests.
    8. Every location that is read has a listing, and its key, format, columns and pinned table are those granted.
    9. No key is revoked; a key that only reads cannot wrap.

    Args:
        claims: of verified evidence.
        policies: the newest verified policy of every owner here.
        keys: name -> key; raises UnknownKey.
        listings: owner and location -> newest listing, or None.
        now: Unix seconds.

    Raises:
        AttestationRefused, MeasurementRefused, PlatformRefused, LaunchRefused, PolicyRefused, NoGrant, UnknownKey,
        RevokedKey.
    """
    policies = [policy for policy in policies if not claims.owners or policy.owner in claims.owners]
    if claims.debug:
        raise AttestationRefused("step 1: debug evidence releases nothing")
    named = [
        (policy, workload) for policy in _valid(policies, claims, now) for workload in _named(policy, claims)
    ]
    for policy, workload in named:
        _check_svn(policy, workload, claims)
        _check_platform(policy, workload, claims, now)
        _check_launch(policy, workload, claims)
    participants = _participants(named, claims)
    granted = [
        GrantedLocation(participant.owner, grant)
        for participant in participants
        for grant in participant.grants
        if grant.key_owner == participant.owner
    ]
    _check_disjoint(granted)
    for location in granted:
        if location.grant.access is Access.WRITE:
            _check_consent(location, participants)
    known = {policy.owner for policy in policies}
    logs = _agreed("logs", participants, known)
    requests = _agreed("requests", participants, known)
    owners = {participant.owner for participant in participants}
    if not granted and (requests is None or requests.owner not in owners):
        raise NoGrant("step 5: no owner grants this workload a key of its own")
    return compose(
        workload=participants[0].workload.name,
        owners=tuple(sorted(owners)),
        granted=granted,
        consents=_consents(participants),
        logs=logs,
        requests=requests,
        expires=min(now + RELEASE_TTL_S, *(participant.ends for participant in participants)),
        keys=keys,
        listings=listings,
    )


def owners_concerned(claims: Claims, policies: Iterable[Policy]) -> list[str]:
    """Return the owners whose policies name the measurement at all: those who may read of its refusal."""
    return sorted(
        {
            policy.owner
            for policy in policies
            for workload in policy.workload
            if claims.measurement in workload.measurements
        }
    )


def _valid(policies: Iterable[Policy], claims: Claims, now: int) -> list[Policy]:
    naming = [policy for policy in policies if any(_named(policy, claims))]
    if not naming:
        raise MeasurementRefused(
            f"step 2: no policy names measurement {claims.measurement} with TEE {claims.tee} "
            f"and role {claims.role}"
        )
    valid = [policy for policy in naming if policy.valid_at(now)]
    if not valid:
        owners = ", ".join(sorted(policy.owner for policy in naming))
        raise PolicyRefused(
            f"step 2: outside its validity: the policy of {owners} naming {claims.measurement}"
        )
    return valid


def _named(policy: Policy, claims: Claims) -> list[Workload]:
    return [
        workload
        for workload in policy.workload
        if claims.measurement in workload.measurements
        and workload.tee is claims.tee
        and workload.role == claims.role
    ]


def _check_svn(policy: Policy, workload: Workload, claims: Claims) -> None:
    if claims.svn < workload.minimum_svn:
        raise MeasurementRefused(
            f"step 3: security version {claims.svn} of {workload.name}; "
            f"{policy.owner} demands at least {workload.minimum_svn}"
        )


def _check_platform(policy: Policy, workload: Workload, claims: Claims, now: int) -> None:
    if claims.tee is Tee.SIMULATED:
        return
    if claims.platform is None or workload.platform is None:
        raise PlatformRefused(
            f"step 3: {policy.owner} demands nothing of the hardware, or nothing is known of it"
        )
    try:
        appraise(claims.tee, claims.platform, workload.platform, now)
    except PlatformRefused as refused:
        raise PlatformRefused(f"step 3: {workload.name} of {policy.owner}: {refused}") from None


def _check_launch(policy: Policy, workload: Workload, claims: Claims) -> None:
    for name, expression in workload.launch.items():
        value = claims.launch.get(name)
        if value is None:
            raise LaunchRefused(f"step 4: launch parameter {name} is missing; {policy.owner} demands it")
        if not matches(expression, value):
            raise LaunchRefused(
                f"step 4: launch parameter {name} is {value!r}; {policy.owner} demands {expression!r}"
            )


def _participants(named: Sequence[tuple[Policy, Workload]], claims: Claims) -> list[Participant]:
    participants = []
    for policy, workload in named:
        grants = tuple(grant for grant in policy.grant if grant.workload == workload.name)
        if grants or workload.requests is not None:
            ends = int(policy.not_after.timestamp())
            participants.append(Participant(policy.owner, workload, grants, ends))
    if not participants:
        raise NoGrant(f"step 5: measurement {claims.measurement} is named, but nothing is granted to it")
    owners = [participant.owner for participant in participants]
    if len(set(owners)) != len(owners):
        raise PolicyRefused("step 5: one owner has two policies or two workloads of this measurement")
    if len(owners) > 1 and not claims.owners:
        raise NoGrant(
            f"step 5: {', '.join(sorted(owners))} all grant it something, and the image does not name them: whoever "
            "takes part is named at its build"
        )
    names = sorted({participant.workload.name for participant in participants})
    if len(names) > 1:
        raise PolicyRefused(f"step 5: the owners give the workload different names: {', '.join(names)}")
    return participants


def _check_disjoint(granted: Sequence[GrantedLocation]) -> None:
    for one, other in itertools.combinations(granted, 2):
        if overlap(one.grant.location, other.grant.location):
            raise PolicyRefused(
                f"step 6: {one.owner} grants {one.grant.location}, "
                f"{other.owner} grants {other.grant.location}: they overlap"
            )


def _terms(grant: PolicyGrant) -> tuple[object, ...]:
    return grant.location, grant.access, grant.format, grant.key, grant.columns


def _check_consent(location: GrantedLocation, participants: Sequence[Participant]) -> None:
    for participant in participants:
        if _terms(location.grant) not in map(_terms, participant.grants):
            raise NoGrant(
                f"step 7: {participant.owner} does not consent to writing {location.grant.location} "
                f"under {location.grant.key}"
            )


def _consents(participants: Sequence[Participant]) -> tuple[Consent, ...]:
    """What everybody here consents to of owners elsewhere: the agent holds it against other brokers' grants."""
    here = {participant.owner for participant in participants}
    return tuple(
        Consent(location=grant.location, format=grant.format, key=grant.key, columns=grant.columns)
        for grant in participants[0].grants
        if grant.access is Access.WRITE
        and grant.key_owner not in here
        and all(_terms(grant) in map(_terms, participant.grants) for participant in participants)
    )


def _agreed(use: str, participants: Sequence[Participant], known: Collection[str]) -> KeyName | None:
    """Return the key for `use` that everybody here names; that of an owner unknown here another broker releases."""
    named = {getattr(participant.workload, use) for participant in participants}
    if named == {None}:
        return None
    if len(named) > 1:
        silent = sorted(p.owner for p in participants if getattr(p.workload, use) is None)
        differ = f"{', '.join(silent)} names none" if silent else "they name different ones"
        raise NoGrant(f"step 7: the owners do not agree on one {use} key: {differ}")
    key = KeyName.parse(str(named.pop()))
    if key.owner in known and key.owner not in {participant.owner for participant in participants}:
        raise NoGrant(f"step 7: {use} key {key}: its owner does not take part")
    return key
