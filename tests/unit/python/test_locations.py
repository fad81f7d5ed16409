from __future__ import annotations

from pathlib import Path

import pytest

from confide.broker.release import Access, Grant, Release
from confide.data.listing import Format
from confide.errors import Misuse
from confide.python.locations import plan
from confide.python.snapshot import changed, snapshot


def _release(*grants: tuple[str, Access]) -> Release:
    return Release(
        workload="w",
        owners=("clinic",),
        keys={},
        grants=tuple(
            Grant(owner="clinic", location=location, access=access, format=Format.TABLE, key="clinic/k")
            for location, access in grants
        ),
        expires=1,
    )


def test_read_and_write_of_one_location_meet() -> None:
    both, out = plan(_release(("out", Access.WRITE), ("a/b", Access.READ), ("a/b", Access.WRITE)))
    assert (both.path, both.read is not None, both.write is not None) == ("a/b", True, True)
    assert (out.read, out.write is not None) == (None, True)
    assert out.holds("out")
    assert out.holds("out/x/y")
    assert not out.holds("outer")


@pytest.mark.parametrize(
    "locations", [("a", "a/b"), ("a/b", "a/b/c"), ("s3a://bucket/x",), ("file:///srv/x",)]
)
def test_locations_that_the_profile_cannot_show(locations: tuple[str, ...]) -> None:
    with pytest.raises(Misuse):
        plan(_release(*((location, Access.READ) for location in locations)))


def test_tables_that_the_program_reads_itself() -> None:
    one, other = plan(_release(("a", Access.READ), ("b", Access.READ)), ["b"])
    assert (one.streamed, other.streamed) == (False, True)


def test_snapshot_tells_what_changed(tmp_path: Path) -> None:
    for name in ("kept", "removed", "written"):
        (tmp_path / name).write_text("x")
    before = snapshot(tmp_path, lambda _: True)
    (tmp_path / "removed").unlink()
    (tmp_path / "written").write_text("longer")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/added").touch()
    assert changed(before, snapshot(tmp_path, lambda _: True)) == {"removed", "written", "sub/added"}
    assert changed(before, before) == set()


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "nowhere"])
def test_symbolic_links_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(Misuse):
        snapshot(tmp_path, lambda _: True)
