"""Inline script metadata (PEP 723): what a program says of itself in a comment block `# /// script`."""

from __future__ import annotations

import platform
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from confide.errors import InvalidImage

# The regular expression of PEP 723, as the packaging specification gives it.
_METADATA = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


@dataclass(frozen=True)
class ScriptMetadata:
    """What a program declares.

    Attributes:
        args: regular expressions of the arguments that it takes (`[tool.confide] args`).
        dependencies: requirements (PEP 508) of packages from an index.
        owners: who takes part (`[tool.confide] owners`).
        stream: locations of tables that it reads itself (`[tool.confide] stream`).
    """

    args: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    stream: tuple[str, ...] = ()


def read_metadata(program: Path) -> ScriptMetadata:
    """Return what a program declares; a program without a block declares nothing.

    Raises:
        InvalidImage: two blocks, not TOML, a field of another form, a dependency that is not on an index, or a
            `requires-python` that this Python does not meet.
    """
    document = _document(program)
    tool = document.get("tool", {})
    own = tool.get("confide", {}) if isinstance(tool, dict) else {}
    args = _strings(own.get("args", []) if isinstance(own, dict) else None)
    if args is None:
        raise InvalidImage(f"{program}: [tool.confide] args is not a list of regular expressions")
    owners = _strings(own.get("owners", []))
    if owners is None:
        raise InvalidImage(f"{program}: [tool.confide] owners is not a list of names")
    stream = _strings(own.get("stream", []))
    if stream is None:
        raise InvalidImage(f"{program}: [tool.confide] stream is not a list of locations")
    dependencies = _strings(document.get("dependencies", []))
    if dependencies is None:
        raise InvalidImage(f"{program}: dependencies is not a list of requirements")
    for dependency in dependencies:
        _check_dependency(program, dependency)
    _check_python(program, document.get("requires-python", ""))
    return ScriptMetadata(args, dependencies, owners, stream)


def _document(program: Path) -> dict[str, Any]:
    text = program.read_text("utf-8", errors="replace")
    blocks = [match for match in _METADATA.finditer(text) if match["type"] == "script"]
    if not blocks:
        return {}
    if len(blocks) > 1:
        raise InvalidImage(f"{program} has {len(blocks)} blocks of script metadata")
    lines = blocks[0]["content"].splitlines(keepends=True)
    content = "".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InvalidImage(f"{program}: script metadata: {error}") from None


def _strings(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


def _check_dependency(program: Path, dependency: str) -> None:
    try:
        requirement = Requirement(dependency)
    except InvalidRequirement:
        raise InvalidImage(f"{program}: dependency {dependency!r} is not a requirement (PEP 508)") from None
    if requirement.url is not None:
        raise InvalidImage(f"{program}: dependency {dependency!r} is not on a package index")


def _check_python(program: Path, requires: object) -> None:
    try:
        wanted = SpecifierSet(requires if isinstance(requires, str) else "?")
    except InvalidSpecifier:
        raise InvalidImage(
            f"{program}: requires-python {requires!r} is not a version specifier (PEP 440)"
        ) from None
    version = platform.python_version()
    if not wanted.contains(version, prereleases=True):
        raise InvalidImage(
            f"{program} requires Python {requires}; images take along the Python that builds them, {version}"
        )
