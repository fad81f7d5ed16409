"""Each family of programs once more: what docs/compatibility.md says of it holds."""

from __future__ import annotations

import pytest
from benchmarks.owner import new_owner
from benchmarks.workspace import workspace

from .families import FAMILIES
from .report import DOCUMENT, read_verdicts, table
from .sides import OTHER, REFUSED, judge

FOUND = read_verdicts()


def test_the_document_says_what_was_found():
    assert table(FOUND) in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.spark
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FOUND)
def test_programs_do_what_the_document_says(name):
    if name == "xgboost":
        pytest.importorskip("xgboost", reason="`make compat` installs it")
    with workspace() as folder, new_owner(folder) as owner:
        verdicts = judge(FAMILIES[name], folder, owner)
    known = {verdict.name for verdict in FOUND[name] if verdict.kind in (OTHER, REFUSED)}
    new = {verdict.name: verdict.why for verdict in verdicts if verdict.kind in (OTHER, REFUSED)}
    assert new.keys() == known, new
