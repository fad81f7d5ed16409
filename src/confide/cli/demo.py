"""`confide demo`: the main job on real data, told as it goes, each step with the command a user would type."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from confide.cli.output import stdout
from confide.cli.tour import DemoFailed, Tour, count, example
from confide.errors import MeasurementRefused

_PROGRAM = "study.py"


class What(StrEnum):
    """The demos that there are."""

    SPARK = "spark"
    SERVING = "serving"


def demo(
    what: Annotated[
        What, typer.Argument(help="`spark`: the main job. `serving`: a model, trained and served.")
    ] = What.SPARK,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Empty folder to work in and keep; without it, a temporary one."),
    ] = None,
) -> None:
    """Show the whole way of the data on real records, in a minute or two.

    Examples:

        confide demo --dir /tmp/tour

        confide demo serving
    """
    began = time.monotonic()
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="confide-demo-") as temporary:
            _tell(what, Path(temporary))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DemoFailed(f"{folder} is not empty")
        _tell(what, folder.absolute())
    kept = f"Everything is in {folder}." if folder else "Nothing was kept (--dir keeps it)."
    stdout.print(f"\n[bold green]Done[/] in {time.monotonic() - began:.0f} s. {kept}")
    stdout.print("Next: `confide init OWNER`, and 'Your first own program' in README.md.", markup=False)


def _tell(what: What, folder: Path) -> None:
    if what is What.SERVING:
        from confide.cli.demo_serving import ServingTour

        ServingTour(folder).tell()
    else:
        _Tour(folder).tell()


class _Tour(Tour):
    """The main job; each method is one chapter."""

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
            self.close()

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
        plain = count(needles, [table.path for table in tables.values()])
        sealed = [path for path in (self._folder / "data").rglob("*") if path.is_file()]
        self._say(
            f"What the operator sees: {len(sealed)} files, {sum(p.stat().st_size for p in sealed):,} bytes."
        )
        found = count(needles, sealed)
        self._say(
            f"{len(needles)} known values and column names searched: {plain:,} hits in the plain files, "
            f"[bold]{found}[/] in the encrypted ones."
        )
        self._expect(found == 0 and plain > 0, "a known value is readable in an encrypted file")

    def _program(self) -> None:
        self._chapter("2. An ordinary PySpark program", "analyst")
        shutil.copy(example("01_study.py"), self._folder / _PROGRAM)
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
        plain = self._plain_inputs()
        self._say("Both run now, the same file on encrypted and on plain data; Spark takes a while:")
        beside = self._begin(
            f"{shlex.quote(sys.executable)} ../../{_PROGRAM}", cwd=plain, shown=f"python {_PROGRAM}"
        )
        self._run(f"confide run --tee simulated {_PROGRAM}")
        self._finish(beside, quiet=True)
        self._say("What the program printed is sealed too; the owner reads it:")
        self._run("confide logs --last 1 --grep airlines:")

    def _plain_inputs(self) -> Path:
        self._say("To compare, the owner decrypts the inputs at home:")
        plain = self._owner / "plain"
        (plain / "data").mkdir(parents=True)
        for name in ("patients", "flights", "airlines"):
            self._run(f"confide decrypt data/{name} owner/plain/data/{name}/part.parquet", quiet=True)
        return plain

    def _compare(self) -> None:
        import pyarrow.parquet

        self._chapter("4. The same result as on plain data", "owner")
        plain = self._owner / "plain"
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
