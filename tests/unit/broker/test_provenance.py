"""What the audit log says of how a model came about, and what of it is refused. Numbers as in `provenance`."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from confide.attestation.claims import Claims, Tee
from confide.broker import audit_entries
from confide.broker.audit import AuditEntry
from confide.broker.provenance import Version, provenance
from confide.broker.release import Access, Grant, Release
from confide.data.listing import Format, ListedFile, Listing
from confide.errors import Misuse, Tampered


class Log:
    """Entries as a broker writes them."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def add(self, entry: dict[str, Any]) -> AuditEntry:
        kind = entry.pop("kind")
        self.entries.append(AuditEntry(len(self.entries), 1_800_000_000, kind, entry, b""))
        return self.entries[-1]

    def encrypt(self, listing: Listing) -> None:
        self.add({"kind": "encrypt", "owner": listing.owner, **audit_entries.listed(listing)})

    def join(self, agent: str, job: str, measurement: str = "ab" * 32) -> None:
        """A mesh certificate."""
        release = Release(workload="train", owners=("clinic",), keys={}, grants=(), expires=2**40)
        uri = f"spiffe://{'0' * 64}/job/{job * 32}/role/executor"
        self.add(audit_entries.mesh_certificate(_claims(agent, measurement), release, uri, 1, 2**40))

    def run(
        self,
        agent: str,
        reads: list[Listing],
        writes: list[Listing | str],
        *made: Listing,
        measurement: str = "ab" * 32,
    ) -> None:
        """A release to an agent and its commits."""
        grants = [_grant(one, Access.READ) for one in reads] + [_grant(one, Access.WRITE) for one in writes]
        release = Release(workload="train", owners=("clinic",), keys={}, grants=tuple(grants), expires=2**40)
        claims = _claims(agent, measurement)
        self.add(audit_entries.release(claims, release, [], "confide/release/default"))
        for listing in made:
            self.add(audit_entries.commit(claims, "train", listing))


def _claims(agent: str, measurement: str = "ab" * 32) -> Claims:
    key = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": agent, "y": agent}
    return Claims(Tee.SIMULATED, measurement, "driver", 0, False, "cd" * 32, key)


def _grant(at: Listing | str, access: Access) -> Grant:
    location, listing = (at, None) if isinstance(at, str) else (at.location, at)
    return Grant(
        owner="clinic",
        location=location,
        access=access,
        format=Format.FILES,
        key="clinic/data",
        table=listing and listing.table,
        listing=listing,
    )


def _listing(location: str, serial: int = 1, owner: str = "clinic", content: str = "0") -> Listing:
    file = ListedFile(path="file", size=1, binding=content * 64)
    return Listing(
        table="00" * 16,
        owner=owner,
        location=location,
        format=Format.FILES,
        serial=serial,
        key=f"{owner}/data",
        files=(file,),
    )


DATA, MODEL = _listing("data/train"), _listing("out/model")


@pytest.fixture
def log() -> Log:
    log = Log()
    log.encrypt(DATA)
    log.run("A", [DATA], ["out/model"], MODEL)
    return log


def test_a_model_leads_to_the_run_that_made_it_and_the_data_it_was_given(log):
    model, data = provenance(MODEL, log.entries)
    assert model.version == Version("clinic", "out/model", 1)
    assert (model.entry.kind, model.entry.fields["measurement"]) == ("commit", "ab" * 32)
    assert [entry.index for entry in model.releases] == [1]
    assert model.inputs == (Version("clinic", "data/train", 1),)
    assert (data.entry.kind, data.releases, data.inputs) == ("encrypt", (), ())


def test_a_resumed_training_leads_through_its_checkpoints_to_the_first_run(log):
    newer, checkpoint = _listing("data/train", 2, content="1"), _listing("out/checkpoints", 4)
    log.run("B", [DATA], ["out/checkpoints"], checkpoint)
    log.encrypt(newer)
    model = _listing("out/model", 2, content="2")
    log.run("C", [newer], [checkpoint, MODEL], model)
    steps = {(step.version.location, step.version.serial): step for step in provenance(model, log.entries)}
    assert list(steps) == [
        ("out/model", 2),
        ("data/train", 2),
        ("out/checkpoints", 4),
        ("out/model", 1),
        ("data/train", 1),
    ]
    assert steps["out/checkpoints", 4].inputs == (Version("clinic", "data/train", 1),)


def test_all_releases_to_an_agent_count_and_those_after_its_commit_do_not(log):
    other, later = _listing("data/other"), _listing("data/later")
    log.run("D", [DATA], [MODEL])
    log.run("D", [other], [MODEL], model := _listing("out/model", 2))
    log.run("D", [later], [model])
    read = [version.location for version in provenance(model, log.entries)[0].inputs]
    assert read == ["data/other", "data/train", "out/model"]


def test_what_the_log_does_not_know_is_said(log):
    unknown = _listing("data/unknown")
    log.run("E", [unknown], [MODEL], model := _listing("out/model", 2))
    steps = {step.version.location: step for step in provenance(model, log.entries)}
    assert steps["data/unknown"].entry is None


def test_where_it_could_read_back_what_no_listing_has_is_said(log):
    assert provenance(MODEL, log.entries)[0].writable == ("out/model",)
    log.run("F", [DATA], ["state/checkpoints", MODEL], model := _listing("out/model", 2))
    assert provenance(model, log.entries)[0].writable == ("out/model", "state/checkpoints")


def test_executors_of_the_job_count_and_those_of_other_jobs_do_not(log):
    driver, model = _claims("G"), _listing("out/model", 2)
    newer = _listing("data/train", 2, content="1")
    log.encrypt(newer)
    log.join("G", "1")
    log.join("H", "1", "ef" * 32)
    log.join("I", "2")
    log.run("H", [newer], [], measurement="ef" * 32)
    log.run("I", [_listing("data/elsewhere")], [])
    log.run("G", [DATA], [MODEL], model)
    step = provenance(model, log.entries)[0]
    assert [entry.fields["measurement"] for entry in step.releases] == ["ef" * 32, driver.measurement]
    assert {(v.location, v.serial) for v in step.inputs} == {
        ("data/train", 1),
        ("data/train", 2),
        ("out/model", 1),
    }


def test_a_release_to_this_key_of_other_evidence_does_not_count(log):
    log.run("J", [_listing("data/evil")], [], measurement="ef" * 32)
    log.run("J", [DATA], [MODEL], model := _listing("out/model", 2))
    assert [v.location for v in provenance(model, log.entries)[0].inputs] == ["data/train", "out/model"]


def test_step_3_only_a_release_of_other_evidence(log):
    log.run("K", [DATA], [MODEL], measurement="ef" * 32)
    log.add(audit_entries.commit(_claims("K"), "train", model := _listing("out/model", 2)))
    with pytest.raises(Tampered, match="step 3"):
        provenance(model, log.entries)


@pytest.mark.parametrize(
    "listing",
    [_listing("out/model", 2), _listing("out/other"), _listing("out/model", owner="bank")],
    ids=["later serial", "other location", "other owner"],
)
def test_step_1_not_in_the_log(log, listing):
    with pytest.raises(Misuse, match="step 1"):
        provenance(listing, log.entries)


def test_step_1_entries_that_say_too_little(log):
    for entry in log.entries:
        entry.fields.pop("listing", None)
    with pytest.raises(Misuse, match="step 1"):
        provenance(MODEL, log.entries)


def test_step_2_another_listing_of_this_serial(log):
    with pytest.raises(Tampered, match="step 2"):
        provenance(_listing("out/model", content="f"), log.entries)


def test_step_2_the_first_entry_of_a_serial_counts(log):
    log.encrypt(forged := _listing("out/model", content="f"))
    with pytest.raises(Tampered, match="step 2"):
        provenance(forged, log.entries)


def test_step_3_a_commit_without_a_release_to_its_agent(log):
    without = [entry for entry in log.entries if entry.kind != "release"]
    with pytest.raises(Tampered, match="step 3"):
        provenance(MODEL, without)


def test_step_3_a_release_to_another_agent_or_after_the_commit(log):
    first, second = itertools.pairwise(log.entries)
    release, commit = second
    moved = AuditEntry(9, release.time, release.kind, release.fields, b"")
    for others in ([first[0], commit, moved], [first[0], _of("B", release), commit]):
        with pytest.raises(Tampered, match="step 3"):
            provenance(MODEL, others)


def _of(agent: str, entry: AuditEntry) -> AuditEntry:
    fields = {**entry.fields, "agent": audit_entries.commit(_claims(agent), "train", MODEL)["agent"]}
    return AuditEntry(entry.index, entry.time, entry.kind, fields, b"")
