"""The documents refer to files that exist, and every command has an example in its help."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from confide.cli.app import app

ROOT = Path(__file__).parents[3]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
PROGRAM = typer.main.get_command(app)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (document.parent / target).exists(), target


def test_documents_that_code_and_documents_name_exist():
    sources = [path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".java", ".toml")]
    named = {
        (target, source)
        for source in (*sources, *ROOT.glob("jvm/**/*.java"), *DOCUMENTS)
        for target in re.findall(r"docs/[\w/.-]*\w\.md", source.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    for target, source in named:
        assert (ROOT / target).exists(), (target, source)


def test_claims_name_tests_that_exist():
    text = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`: ]+|examples/[^`: ]+)`", text)
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path


def _commands(command, path):
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [found for name, sub in command.commands.items() for found in _commands(sub, f"{path} {name}")]


def _typed(document: Path) -> list[list[str]]:
    """Return the commands of `confide` in a document's blocks of code, each as its words."""
    blocks = re.findall(r"^```\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("confide ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_options_in_documents_exist(document):
    for words in _typed(document):
        command, rest = PROGRAM, list(words)
        known = {option for parameter in command.params for option in parameter.opts}
        while hasattr(command, "commands"):
            while rest[0] in known:
                rest = rest[2:]
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        for word in rest:
            if word.endswith(".py"):
                break  # what follows is the program's, or stands in front as well
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options, (words, word)


@pytest.mark.parametrize(("path", "command"), _commands(PROGRAM, "confide"))
def test_every_command_has_an_example(path, command):
    assert re.search(r"Examples?:", command.help or ""), path
    assert path.split()[-1] in (command.help or "")
