"""The refusals that docs/collateral.md explains are those that the code has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "collateral.md").read_text(encoding="utf-8")
REFUSALS = re.findall(
    r"`([^`]+)`",
    "\n".join(
        line.split(" | ")[0]
        for line in TEXT.split("## What to do on each refusal")[1].splitlines()
        if line[:3] == "| `"
    ),
)


@pytest.fixture(scope="module")
def messages() -> str:
    """All text in the code, each literal in a line: those beside one another are one, values in them are left out."""
    texts = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return "\n".join(texts)


def test_there_are_refusals():
    assert len(REFUSALS) > 20


@pytest.mark.parametrize("refusal", REFUSALS)
def test_every_refusal_is_one_of_the_code(messages, refusal):
    if re.fullmatch(r"status \d+.*|ConnectError", refusal):  # of servers and of the library that asks them
        return
    for part in refusal.split("..."):
        assert part.strip(" ,") in messages, part
