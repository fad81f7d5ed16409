"""Runs a family on both sides: plain Spark on data in clear, and `confide run` on the same data encrypted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.owner import KEY, Owner
from benchmarks.process import CommandFailed

from .compare import Outcome, difference, outcomes, same, settled
from .families import Family, Program
from .resources import words

RUNNER = Path(__file__).with_name("runner.py")
CORES, HEAP = 2, "2560m"  # what `confide run` gives by default of 4 GiB
SETTINGS = ("spark.log.level=OFF", "spark.default.parallelism=2", "spark.sql.shuffle.partitions=4")
SAME, VARIES, OTHER, REFUSED, NOWHERE = "same", "varies", "other", "refused", "nowhere"


@dataclass(frozen=True)
class Verdict:
    """What came of a program.

    Attributes:
        name: of the program.
        kind: `SAME`; `VARIES`: it finished, and prints something else each time; `OTHER`: it printed something else
            than with plain Spark; `REFUSED`: it did not finish; `NOWHERE`: it does not with plain Spark either.
        why: what ended it, or what differs.
    """

    name: str
    kind: str
    why: str = ""


def judge(family: Family, folder: Path, owner: Owner) -> list[Verdict]:
    """Run every program of a family on both sides and return what came of each.

    Args:
        family: of programs.
        folder: an empty one, for the plain side.
        owner: with an empty folder.
    """
    with words() as port:
        plain = _plain(family, family.programs, folder / "plain", port)
        runs = any(not outcome.ended for outcome in plain.values())
        confined = _confined(family, owner, port) if runs else {}
        unsure = [each for each in family.programs if _needs_another(each, plain, confined)]
        again = _plain(family, unsure, folder / "again", port) if unsure else {}
    return [_verdict(each, plain, confined, again) for each in family.programs]


def _needs_another(program: Program, plain: dict[str, Outcome], confined: dict[str, Outcome]) -> bool:
    one, other = plain.get(program.name), confined.get(program.name)
    return bool(one and other and not one.ended and not other.ended and not _same(program, one, other))


def _verdict(
    program: Program, plain: dict[str, Outcome], confined: dict[str, Outcome], again: dict[str, Outcome]
) -> Verdict:
    name = program.name
    missing = Outcome("", "the run did not come to it", 0)
    one, other = plain.get(name, missing), confined.get(name, missing)
    if one.ended:
        return Verdict(name, NOWHERE, one.ended)
    if other.ended:
        return Verdict(name, REFUSED, other.ended)
    if _same(program, one, other):
        return Verdict(name, SAME)
    if name in again and not _same(program, one, again[name]):
        return Verdict(name, VARIES)
    return Verdict(name, OTHER, difference(one.printed, other.printed))


def _same(program: Program, one: Outcome, other: Outcome) -> bool:
    if program.stream:
        return bool(settled(one.printed)) and settled(one.printed) == settled(other.printed)
    return same(one.printed, other.printed)


def _place(family: Family, programs: Iterable[Program], folder: Path, port: int) -> Path:
    """Lay out the programs with what runs them; return the file to run."""
    place = folder / "programs"
    place.mkdir(parents=True)
    listed = []
    for program in programs:
        target = place / program.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(program.path, target)
        arguments = [argument.format(port=port) for argument in program.args]
        listed.append(
            {
                "name": program.name,
                "path": str(target.relative_to(folder)),
                "args": arguments,
                "stream": program.stream,
            }
        )
    for name, source in family.beside.items():
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "programs.json").write_text(json.dumps(listed))
    shutil.copyfile(RUNNER, folder / "runner.py")
    imports = "".join(f"import {module}  # noqa: F401\n" for module in family.imports)
    main = folder / "main.py"
    main.write_text(f"{imports}import runner\n\nrunner.main()\n")
    return main


def _plain(family: Family, programs: Sequence[Program], folder: Path, port: int) -> dict[str, Outcome]:
    main = _place(family, programs, folder, port)
    family.write_data(folder)
    settings = (*SETTINGS, "spark.ui.enabled=false", "spark.ui.showConsoleProgress=false")
    options = " ".join(f"--conf {setting}" for setting in settings)
    submit = f"--master local[{CORES}] --driver-memory {HEAP} {options} pyspark-shell"
    done = subprocess.run(
        [sys.executable, main.name],
        cwd=folder,
        env={**os.environ, "PYSPARK_SUBMIT_ARGS": submit, "PYSPARK_PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # as in a sealed log
        check=False,
    )
    return outcomes(done.stdout.decode(errors="replace"))


def _confined(family: Family, owner: Owner, port: int) -> dict[str, Outcome]:
    main = _place(family, family.programs, owner.folder, port)
    source = owner.folder.parent / "source"
    source.mkdir()
    family.write_data(source)
    grants: list[str] = []
    for location, is_table in family.reads.items():
        owner.confide(
            "encrypt", _as_given(source / location, is_table), location,
            "--key", KEY, "--as", "table" if is_table else "files",
        )  # fmt: skip
        grants += ["--read", location]
    for option, locations in (("--write", family.tables), ("--write-files", family.files)):
        grants += [word for location in locations for word in (option, f"{location}={KEY}")]
    beside = ["programs", "programs.json", *family.beside]
    program = [word for name in beside for word in ("--include", str(owner.folder / name))]
    program += [word for setting in SETTINGS for word in ("--conf", setting)]
    program += ["--cores", str(CORES)]
    owner.confide("policy", "allow", *program, *grants, "--logs", KEY, main)
    owner.confide("policy", "apply", "policy.toml")
    try:
        owner.confide("run", "--tee", "simulated", *program, main)
    except CommandFailed as error:
        print(f"{family.title}: {error}"[-2000:], file=sys.stderr)
    return outcomes(owner.confide("logs").output)


def _as_given(path: Path, is_table: bool) -> Path:
    """A table is told by its ending."""
    return path.rename(path.with_suffix(".parquet")) if is_table else path
