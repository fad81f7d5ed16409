"""`confide demo`: the main job on real data, told as it goes, each step with the command a user would type."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.output import say, stdout
from confide.errors import ConfideError, MeasurementRefused

_PROGRAM = "study.py"


class DemoFailed(ConfideError):
    """A step of the demo did not do what it says."""

    exit_code = 1


def demo(
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Empty folder to work in and keep; without it, a temporary one."),
    ] = None,
) -> None:
    """Show the whole way of the data on real records, in a minute or two.

    Example:

        confide demo --dir /tmp/tour
    """
    began = time.monotonic()
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="confide-demo-") as temporary:
            _Tour(Path(temporary)).tell()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DemoFailed(f"{folder} is not empty")
        _Tour(folder.absolute()).tell()
    kept = f"Everything is in {folder}." if folder else "Nothing was kept (--dir keeps it)."
    stdout.print(f"\n[bold green]Done[/] in {time.monotonic() - began:.0f} s. {kept}")
    stdout.print("Next: `confide init OWNER`, and 'Your first own program' in README.md.", markup=False)


class _Tour:
    """The steps; each method is one chapter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = folder / "owner"
        self._owner.mkdir()
        passphrase = self._owner / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(24) + "\n")
        self._passphrase = os.open(passphrase, os.O_RDONLY)
        os.set_inheritable(self._passphrase, True)
        self._environment = {
            **os.environ,
            "CONFIDE_HOME": str(self._owner / "home"),
            "CONFIDE_PASSPHRASE_FD": str(self._passphrase),
        }

    def tell(self) -> None:
        """Tell all chapters."""
        try:
            self._encrypt()
            self._program()
            self._refused_then_allowed()
            self._compare()
            self._one_byte()
            self._audit()
        finally:
            os.close(self._passphrase)

    def _encrypt(self) -> None:
        from confide.cli.demo_data import write_demo_data

        self._chapter("1. The owner encrypts real records", "institute")
        self._say(
            "The passphrase comes from a file descriptor here; at a terminal you would be asked for it."
        )
        tables = write_demo_data(self._owner)
        for name, table in tables.items():
            self._say(f"owner/{table.path.name}: {table.rows:,} rows of {name}")
        self._run("confide init institute")
        for key in ("patients", "flights", "results"):
            self._run(f"confide key create institute/{key}")
        for name, table in tables.items():
            key = "patients" if name == "patients" else "flights"
            self._run(f"confide encrypt owner/{table.path.name} data/{name} --key institute/{key}")
        needles = [value for table in tables.values() for value in table.known_values]
        plain = _count(needles, [table.path for table in tables.values()])
        sealed = [path for path in (self._folder / "data").rglob("*") if path.is_file()]
        self._say(
            f"What the operator sees: {len(sealed)} files, {sum(p.stat().st_size for p in sealed):,} bytes."
        )
        found = _count(needles, sealed)
        self._say(
            f"{len(needles)} known values and column names searched: {plain:,} hits in the plain files, "
            f"[bold]{found}[/] in the encrypted ones."
        )
        self._expect(found == 0 and plain > 0, "a known value is readable in an encrypted file")

    def _program(self) -> None:
        self._chapter("2. An ordinary PySpark program", "analyst")
        shutil.copy(_example(), self._folder / _PROGRAM)
        text = (self._folder / _PROGRAM).read_text(encoding="utf-8")
        self._say(
            f"{_PROGRAM} (examples/01_study.py): {len(text.splitlines())} lines; SQL join and group-by, "
            "DataFrames, an MLlib pipeline, "
            f"a Python function; imports of confide: {text.count('import confide')}."
        )

    def _refused_then_allowed(self) -> None:
        self._chapter("3. No key without the owner's policy", "operator")
        self._run(f"confide run --tee simulated {_PROGRAM}", expect=MeasurementRefused.exit_code)
        self._say("The owner looks at the program and approves exactly this measurement:")
        self._run(
            f"confide policy allow {_PROGRAM} --read data/patients --read data/flights --read data/airlines "
            "--write out/delays=institute/results --write out/groups=institute/results "
            "--write out/predictions=institute/results --logs institute/results"
        )
        self._run("confide policy check policy.toml")
        self._run("confide policy apply policy.toml")
        self._say("It runs now; Spark takes a while:")
        self._run(f"confide run --tee simulated {_PROGRAM}")
        self._say("What the program printed is sealed too; the owner reads it:")
        self._run("confide logs --last 1 --grep airlines:")

    def _compare(self) -> None:
        import pyarrow.parquet

        self._chapter("4. The same result as on plain data", "owner")
        self._say("The owner decrypts the inputs, runs the same file with plain Spark, and compares:")
        plain = self._owner / "plain"
        (plain / "data").mkdir(parents=True)
        for name in ("patients", "flights", "airlines"):
            self._run(f"confide decrypt data/{name} owner/plain/data/{name}/part.parquet", quiet=True)
        self._run(
            f"{shlex.quote(sys.executable)} ../../{_PROGRAM}",
            cwd=plain,
            quiet=True,
            shown=f"python {_PROGRAM}",
        )
        for name in ("delays", "groups", "predictions"):
            self._run(f"confide decrypt out/{name} owner/{name}.parquet", quiet=True)
            ours = pyarrow.parquet.read_table(self._owner / f"{name}.parquet")
            theirs = pyarrow.parquet.read_table(plain / "out" / name)
            self._expect(ours.to_pylist() == theirs.to_pylist(), f"{name} differs from the plain run")
            self._say(f"out/{name}: {ours.num_rows} rows, equal to the plain run's")

    def _one_byte(self) -> None:
        self._chapter("5. One byte of the program changes", "operator")
        path = self._folder / _PROGRAM
        original = path.read_bytes()
        path.write_bytes(original.replace(b"radius < 12", b"radius < 11"))
        self._say("In size_class, `radius < 12` becomes `radius < 11`:")
        said = self._run(f"confide run --tee simulated {_PROGRAM}", expect=MeasurementRefused.exit_code)
        self._expect(_PROGRAM in said, "the refusal does not name the changed file")
        path.write_bytes(original)

    def _audit(self) -> None:
        self._chapter("6. Every release and refusal, provably", "owner")
        self._run("confide audit")
        self._run("confide audit verify")
        self._run("confide decrypt out/delays owner/delays.csv")
        for line in (self._owner / "delays.csv").read_text(encoding="utf-8").splitlines()[:4]:
            self._say(line)

    def _chapter(self, title: str, who: str) -> None:
        stdout.print(f"\n[bold]{title}[/]  [dim]({who})[/]")

    def _say(self, text: str) -> None:
        stdout.print("  " + text)

    def _run(
        self, command: str, *, expect: int = 0, quiet: bool = False, cwd: Path | None = None, shown: str = ""
    ) -> str:
        stdout.print(f"  [cyan]$ {shown or command}[/]", highlight=False)
        words = shlex.split(command)
        if words[0] == "confide":
            words[:1] = [sys.executable, "-m", "confide"]
        done = subprocess.run(
            words,
            cwd=cwd or self._folder,
            env=self._environment,
            pass_fds=(self._passphrase,),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if not quiet:
            for line in done.stdout.splitlines():
                stdout.print("    " + line, markup=False, style="dim", highlight=False)
        if expect:
            self._say(f"[yellow]exit code {done.returncode}[/]")
        if done.returncode != expect:
            say(done.stdout)
        self._expect(
            done.returncode == expect, f"{shown or command}: exit code {done.returncode}, not {expect}"
        )
        return done.stdout

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise DemoFailed(otherwise)


def _count(needles: list[bytes], files: list[Path]) -> int:
    return sum(path.read_bytes().count(needle) for path in files for needle in needles)


def _example() -> Path:
    """Return the example program: in the wheel, or in the clone."""
    packaged = Path(__file__).parent / "examples" / "01_study.py"
    return packaged if packaged.exists() else Path(__file__).parents[3] / "examples" / "01_study.py"
