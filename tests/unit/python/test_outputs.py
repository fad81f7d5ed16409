"""Commits of outputs while a program runs, and those that a kill cut in two; the broker is a file of listings."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from confide.broker.release import Access, Grant, Release, ReleasedKey
from confide.data.folders import decrypt_files
from confide.data.listing import Format, ListedFile, Listing
from confide.data.listing_io import check_folder
from confide.errors import BrokerUnavailable, Conflict, FileMissing, Misuse, NoGrant, StorageUnavailable
from confide.python.inputs import open_inputs
from confide.python.locations import plan
from confide.python.outputs import Outputs, WroteElsewhere
from confide.python.roll_forward import roll_forward

KEY = "clinic/models"
SECRET = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg="
HERE = "out/checkpoints"


@dataclass
class Run:
    """One run of a program on one storage; what the broker knows survives it."""

    root: Path
    at_commit: Callable[[], None] = lambda: None
    after_commit: Callable[[], None] = lambda: None
    at_renewal: Callable[[], None] = lambda: None
    views: int = field(default=0)

    def __post_init__(self) -> None:
        self.broker, self.work = self.root / "broker.json", self.root / "work"
        self.work.mkdir(exist_ok=True)

    @property
    def listing(self) -> Listing | None:
        return Listing.from_json(self.broker.read_bytes()) if self.broker.exists() else None

    @property
    def release(self) -> Release:
        grants = [
            Grant(
                owner="clinic",
                location=location,
                access=Access.WRITE,
                format=kind,
                key=KEY,
                listing=self.listing if location == HERE else None,
            )
            for location, kind in ((HERE, Format.FILES), ("out/table", Format.TABLE))
        ]
        keys = {KEY: ReleasedKey(current=1, versions={"1": SECRET})}
        return Release(workload="w", owners=("clinic",), keys=keys, grants=tuple(grants), expires=2**40)

    def start(self) -> Outputs:
        """Begin: what was committed lies in a new view."""
        self.view = self.root / f"view-{len(list(self.root.iterdir()))}"
        self.view.mkdir()
        locations = plan(self.release)
        before = open_inputs(locations, self.release.keyset(), self.work, self.view)
        context: Any = SimpleNamespace(
            release=self.release, work=self.work, commit=self._commit, renew=self._renew
        )
        return Outputs(locations, context, self.view, before)

    def _renew(self) -> Release:
        self.at_renewal()
        return self.release

    def _commit(
        self, location: str, table: str, base_serial: int, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str]]:
        self.at_commit()
        new = Listing(
            table=table,
            owner="clinic",
            location=location,
            format=Format.FILES,
            serial=base_serial + 1,
            key=KEY,
            files=tuple(files),
        )
        self.broker.write_bytes(new.canonical())
        self.after_commit()
        return new, {"payload": ""}

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.view / HERE / name).write_text(text)

    def stored(self) -> dict[str, str]:
        """Return what the owner would decrypt; every file is checked."""
        listing = self.listing
        assert listing is not None
        target = self.root / f"decrypted-{len(list(self.root.iterdir()))}"
        decrypt_files(self.work / HERE, listing, self.release.keyset(), target)
        return {path.name: path.read_text() for path in target.iterdir()}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_an_output_is_committed_while_the_program_runs(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    assert outputs.commit(HERE) == 1
    assert run.stored() == {"a": "1"}
    run.write(a="2", b="b")
    assert outputs.commit(HERE) == 2
    (run.view / HERE / "a").unlink()
    assert outputs.commit(HERE) == 3
    assert run.stored() == {"b": "b"}
    assert outputs.commit(HERE) == 3, "nothing changed"
    run.write(c="c")
    outputs.commit_changed()
    assert run.stored() == {"b": "b", "c": "c"}


def test_untouched_files_are_not_sealed_again(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    first = (run.work / HERE / "a").read_bytes()
    run.write(b="2")
    outputs.commit(HERE)
    assert (run.work / HERE / "a").read_bytes() == first


def test_the_next_run_finds_what_was_committed(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    run.write(a="lost")
    run.start()
    assert (run.view / HERE / "a").read_text() == "1"


@pytest.mark.parametrize(
    ("location", "error"), [("out", NoGrant), ("out/other", NoGrant), ("out/table", Misuse), ("..", NoGrant)]
)
def test_only_granted_locations_of_files_are_committed(
    run: Run, location: str, error: type[Exception]
) -> None:
    outputs = run.start()
    run.write(a="1")
    with pytest.raises(error):
        outputs.commit(location)
    assert run.listing is None


def test_a_link_is_never_followed(run: Run) -> None:
    outputs = run.start()
    (run.view / HERE / "a").symlink_to("/etc/passwd")
    with pytest.raises(Misuse):
        outputs.commit(HERE)
    assert run.listing is None


def test_what_lies_elsewhere_is_still_refused_at_the_end(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    (run.view / "beside").write_text("x")
    with pytest.raises(WroteElsewhere):
        outputs.commit_changed()
    assert run.stored() == {"a": "1"}


def test_a_commit_that_fails_leaves_what_was_there(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)

    def refuse() -> None:
        raise BrokerUnavailable("no answer")

    run.at_commit = refuse
    (run.view / HERE / "a").unlink()
    run.write(b="2")
    with pytest.raises(BrokerUnavailable):
        outputs.commit(HERE)
    assert run.stored() == {"a": "1"}
    assert not list((run.work / HERE).glob(".confide-*"))
    run.at_commit = lambda: None
    assert outputs.commit(HERE) == 2
    assert run.stored() == {"b": "2"}


def _killed(work: Callable[[], None]) -> None:
    """Do `work` in a process of its own, which kills itself in the middle of it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("moment", "expected"),
    [("at_commit", {"a": "1", "b": "1"}), ("after_commit", {"b": "2", "c": "2"})],
    ids=["before the broker knew", "after the broker knew"],
)
def test_a_kill_leaves_the_old_or_the_new_files_whole(
    run: Run, moment: str, expected: dict[str, str]
) -> None:
    outputs = run.start()
    run.write(a="1", b="1")
    outputs.commit(HERE)

    def cut() -> None:
        setattr(run, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
        (run.view / HERE / "a").unlink()
        run.write(b="2", c="2")
        outputs.commit(HERE)

    _killed(cut)
    run.start()  # refuses a location that is not what the broker knows
    assert {path.name: path.read_text() for path in (run.view / HERE).iterdir()} == expected
    assert run.stored() == expected


def test_a_stage_gives_only_what_the_broker_knows(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    run.write(a="2")
    outputs.commit(HERE)
    here, listing = run.work / HERE, run.listing
    assert listing is not None
    stage = here / ".confide-0011.tmp"
    stage.mkdir()
    (here / "a").replace(stage / "a")
    (stage / "a").write_bytes((stage / "a").read_bytes()[:-1])
    roll_forward(here, listing)
    with pytest.raises(FileMissing):
        check_folder(here, listing)


def lost() -> None:
    raise BrokerUnavailable("no answer")


@pytest.fixture
def two(run: Run) -> Outputs:
    """Two files are committed, and others since then changed."""
    outputs = run.start()
    run.write(a="1", b="1")
    outputs.commit(HERE)
    (run.view / HERE / "b").unlink()
    run.write(a="2", c="2")
    return outputs


def test_a_commit_whose_answer_was_lost_counts_if_the_broker_says_so(run: Run, two: Outputs) -> None:
    run.after_commit = lost
    assert two.commit(HERE) == 2
    run.after_commit = lambda: None
    assert run.stored() == {"a": "2", "c": "2"}
    run.write(d="3")
    assert two.commit(HERE) == 3
    assert run.stored() == {"a": "2", "c": "2", "d": "3"}


def test_a_commit_that_the_broker_never_got_changes_nothing(run: Run, two: Outputs) -> None:
    run.at_commit = lost
    with pytest.raises(BrokerUnavailable, match="was not committed"):
        two.commit(HERE)
    run.at_commit = lambda: None
    assert run.stored() == {"a": "1", "b": "1"}
    assert not list((run.work / HERE).glob(".confide-*"))
    assert two.commit(HERE) == 2, "the next one takes it along"
    assert run.stored() == {"a": "2", "c": "2"}


@pytest.mark.parametrize(
    ("moment", "left"),
    [("at_commit", {"a": "1", "b": "1"}), ("after_commit", {"a": "2", "c": "2"})],
)
def test_what_came_of_a_commit_may_stay_unknown_until_the_next_run(
    run: Run, two: Outputs, moment: str, left: dict[str, str]
) -> None:
    setattr(run, moment, lost)
    run.at_renewal = lost
    with pytest.raises(BrokerUnavailable):
        two.commit(HERE)
    again = Run(run.root)
    again.start()
    assert again.stored() == left
    assert {path.name: path.read_text() for path in (again.view / HERE).iterdir()} == left


def test_a_lost_answer_and_another_run_that_committed(run: Run, two: Outputs) -> None:
    def other() -> None:
        assert run.listing is not None
        run.broker.write_bytes(run.listing.model_copy(update={"serial": 2}).canonical())
        lost()

    run.at_commit = other
    with pytest.raises(Conflict):
        two.commit(HERE)


def test_files_that_another_run_put_back_meanwhile_do_not_stay(run: Run, two: Outputs) -> None:
    listing = run.listing
    assert listing is not None
    run.at_commit = lambda: roll_forward(run.work / HERE, listing)
    two.commit(HERE)
    assert run.stored() == {"a": "2", "c": "2"}
    assert run.listing is not None
    check_folder(run.work / HERE, run.listing)


def test_names_change_between_file_and_folder(run: Run) -> None:
    outputs = run.start()
    here = run.view / HERE
    run.write(a="1", b="1")
    outputs.commit(HERE)
    for path in (here / "a", here / "b"):
        path.unlink()
    (here / "b").mkdir()
    run.write(**{"b/x": "2"})
    outputs.commit(HERE)
    (here / "b/x").unlink()
    (here / "b").rmdir()
    outputs.commit(HERE)
    run.write(b="3")
    outputs.commit(HERE)
    assert run.stored() == {"b": "3"}
    assert run.listing is not None
    check_folder(run.work / HERE, run.listing)


def test_a_change_is_noticed_whatever_the_times_say(run: Run) -> None:
    outputs = run.start()
    run.write(mapped="one", set_back="one")
    outputs.commit(HERE)
    with (run.view / HERE / "mapped").open("r+b") as file, mmap.mmap(file.fileno(), 3) as mapping:
        mapping[:] = b"two"
    path = run.view / HERE / "set_back"
    times = path.stat()
    path.write_text("two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    outputs.commit_changed()
    assert run.stored() == {"mapped": "two", "set_back": "two"}


@pytest.mark.parametrize("name", ["_confide.listing", "back\\slash", "long" * 50])
def test_a_name_that_no_listing_holds(run: Run, name: str) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    path = run.view / HERE / name if len(name) < 100 else run.view / HERE / "/".join(["x" * 200] * 6)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    with pytest.raises(Misuse, match="name"):
        outputs.commit(HERE)
    assert run.stored() == {"a": "1"}


def test_a_location_that_is_no_folder_any_more_is_not_an_empty_one(run: Run) -> None:
    outputs = run.start()
    run.write(a="1")
    outputs.commit(HERE)
    shutil.rmtree(run.view / HERE)
    (run.view / HERE).write_text("a file")
    with pytest.raises(StorageUnavailable):
        outputs.commit(HERE)
    assert run.stored() == {"a": "1"}
