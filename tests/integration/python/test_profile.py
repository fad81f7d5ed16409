"""Unmodified Python programs on encrypted inputs, with outputs encrypted again."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from confide.data.folders import encrypt_files
from confide.data.parquet import TableReader
from confide.data.sealed import SealedReader
from confide.data.tables import encrypt_table
from confide.errors import (
    FileChanged,
    FileMissing,
    FileUnlisted,
    InvalidFormat,
    Misuse,
    NoGrant,
    StorageUnavailable,
)
from confide.keys.names import KeyName

from .conftest import Study

CANARY = "Zaphod-Beeblebrox-7391"


def _patients(study: Study, **grant: object) -> None:
    plain = study.root / "patients.parquet"
    frame = pd.DataFrame({"name": [CANARY, "Ford"], "age": [42, 200], "ssn": ["1-" + CANARY, "2"]})
    frame.to_parquet(plain)
    (study.data / "data").mkdir()
    listing = encrypt_table(
        plain,
        study.data / "data/patients",
        study.keyset(),
        KeyName.parse("clinic/patients"),
        location="data/patients",
        columns={"ssn": KeyName.parse("clinic/identifiers")},
    )
    columns = {"ssn": "clinic/identifiers"}
    study.grant("data/patients", "read", "table", "clinic/patients", columns=columns, listing=listing)


def _notes(study: Study, access: str = "read") -> None:
    folder = study.root / "notes"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text(CANARY)
    (folder / "sub/b.txt").write_text("b")
    listing = encrypt_files(
        folder, study.data / "notes", study.keyset(), KeyName.parse("clinic/patients"), location="notes"
    )
    study.grant("notes", access, "files", "clinic/patients", listing=listing)


def _log(study: Study) -> str:
    logs = sorted((study.data / "confide-logs").iterdir())
    with logs[-1].open("rb") as file, SealedReader(file, study.keyset("clinic/logs")) as reader:
        return io.TextIOWrapper(reader).read()


def test_table_and_files_in_table_and_files_out(study: Study) -> None:
    _patients(study)
    _notes(study)
    study.grant("out/older", "write", "table", "clinic/results")
    study.grant("report", "write", "files", "clinic/results")
    study.logs = "clinic/logs"
    program = (
        "import pandas as pd\n"
        "frame = pd.read_parquet('data/patients')\n"
        "print('rows', len(frame), frame.name[0])\n"
        "frame['age'] += 1\n"
        "frame.to_parquet('out/older')\n"
        "open('report/summary.txt', 'w').write(open('notes/a.txt').read() + open('notes/sub/b.txt').read())\n"
    )
    assert study.run(program) == 0
    assert [s["state"] for s in study.said] == ["verified", "started", "finished"]

    older = study.committed("out/older")
    table = TableReader(study.data / "out/older", older, study.keyset("clinic/results")).read().to_pandas()
    assert list(table.age) == [43, 201]
    assert list(table.name) == [CANARY, "Ford"]
    report = study.committed("report")
    assert [file.path for file in report.files] == ["summary.txt"]
    with (
        (study.data / "report/summary.txt").open("rb") as file,
        SealedReader(
            file, study.keyset("clinic/results"), expected_binding=report.files[0].binding
        ) as reader,
    ):
        assert reader.readall() == CANARY.encode() + b"b"
    assert "rows 2 " + CANARY in _log(study)
    assert not study.mentions(CANARY)


def test_columns_whose_key_is_not_released_are_left_out(study: Study) -> None:
    _patients(study)
    study.logs = "clinic/logs"
    program = "import pandas as pd\nprint(list(pd.read_parquet('data/patients').columns))"
    assert study.run(program, released=["clinic/patients", "clinic/logs"]) == 0
    assert "['name', 'age']" in _log(study)


def test_failing_program_commits_nothing_and_its_code_passes(study: Study) -> None:
    study.grant("out", "write", "files", "clinic/results")
    study.logs = "clinic/logs"
    program = f"import sys\nopen('out/x', 'w').write('{CANARY}')\nprint('bye', file=sys.stderr)\nsys.exit(7)"
    assert study.run(program) == 7
    assert not list((study.data / "commits").iterdir())
    assert not (study.data / "out").exists()
    assert "bye" in _log(study)


def test_traceback_goes_to_the_sealed_log_only(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    _notes(study)
    study.logs = "clinic/logs"
    assert study.run("raise ValueError(open('notes/a.txt').read())") == 1
    assert f"ValueError: {CANARY}" in _log(study)
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err + repr(study.said)
    assert not study.mentions(CANARY)


def test_output_is_discarded_without_a_key_for_it(study: Study) -> None:
    _notes(study)
    assert study.run("print(open('notes/a.txt').read())") == 0
    assert not (study.data / "confide-logs").exists()
    assert not study.mentions(CANARY)


def test_program_killed_by_a_signal_gives_its_number(study: Study) -> None:
    _notes(study)
    assert study.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 128 + 9


def test_files_beside_the_locations_are_out_of_reach(study: Study) -> None:
    _notes(study)
    (study.data / "other.txt").write_text("plain on the host")
    study.logs = "clinic/logs"
    program = (
        "import os\n"
        "print(sorted(os.listdir('.')), sorted(os.listdir('/run/confide')), 'CONFIDE_AGENT' in os.environ)"
    )
    assert study.run(program) == 0
    # Of the agent's folder, the two sockets for programs alone.
    assert "['notes'] ['group', 'program'] False" in _log(study)


def test_writing_elsewhere_is_refused_and_commits_nothing(study: Study) -> None:
    study.grant("out", "write", "files", "clinic/results")
    study.logs = "clinic/logs"
    with pytest.raises(NoGrant) as caught:
        study.run(f"open('out/x', 'w').write('x'); open('stray.txt', 'w').write('{CANARY}')")
    assert "the program wrote where nothing is granted; the sealed log" in str(caught.value)
    assert "stray" not in str(caught.value)
    assert "confide: NoGrant: stray.txt is not a location" in _log(study)
    assert "(it may write: out); nothing was committed" in _log(study)
    assert not list((study.data / "commits").iterdir())
    assert not study.mentions(CANARY)


def test_changing_an_input_fails_when_it_is_opened(study: Study) -> None:
    _notes(study)
    study.logs = "clinic/logs"
    assert study.run("open('notes/a.txt', 'a')") == 1
    assert "OSError: [Errno 30] Read-only file system: 'notes/a.txt'" in _log(study)


def test_writing_outside_the_folders_of_outputs_fails_when_it_is_opened(study: Study) -> None:
    _notes(study)
    study.grant("out/model", "write", "files", "clinic/results")
    study.grant("out/table", "write", "table", "clinic/results")
    program = """
import shutil
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
shutil.rmtree("out/model")
Path("out/model").mkdir()
Path("out/model/x").write_text("x")
pq.write_table(pa.table({"x": [1]}), "out/table")
for stray in ("stray.txt", "notes/b.txt", "data"):
    try:
        Path(stray).write_text("x")
    except OSError as error:
        assert error.errno == 30, error
    else:
        raise SystemExit(f"{stray} was written")
"""
    assert study.run(program) == 0
    assert [file.path for file in study.committed("out/model").files] == ["x"]
    assert len(study.committed("out/table").files) == 1


def test_changing_an_input_beside_an_output_is_refused_at_the_end(study: Study) -> None:
    _notes(study)
    study.grant("out", "write", "files", "clinic/results")
    with pytest.raises(NoGrant):
        study.run("open('notes/a.txt', 'a').write('more')")


def test_sealed_files_are_replaced_kept_added_and_removed(study: Study) -> None:
    _notes(study, "write")
    before = {file.path: file for file in study.grants[0].listing.files}
    program = (
        "import os\n"
        "assert open('notes/a.txt').read()\n"
        "open('notes/a.txt', 'w').write('new')\n"
        "open('notes/c.txt', 'w').write('c')\n"
    )
    assert study.run(program) == 0
    listing = study.committed("notes")
    after = {file.path: file for file in listing.files}
    assert set(after) == {"a.txt", "c.txt", "sub/b.txt"}
    assert after["sub/b.txt"] == before["sub/b.txt"]
    assert after["a.txt"] != before["a.txt"]
    assert listing.serial == 2
    study.grants = []
    study.grant("notes", "write", "files", "clinic/patients", listing=listing)
    assert study.run("import os; os.remove('notes/a.txt')") == 0
    assert [file.path for file in study.committed("notes").files] == ["c.txt", "sub/b.txt"]
    assert not (study.data / "notes/a.txt").exists()


def test_table_that_is_only_written_is_replaced(study: Study) -> None:
    study.grant("out", "write", "table", "clinic/results")
    program = "import pandas as pd\npd.DataFrame({'x': [%d]}).to_parquet('out')"
    assert study.run(program % 1) == 0
    first = study.committed("out")
    study.grants = []
    study.grant("out", "write", "table", "clinic/results", listing=first)
    assert study.run(program % 2) == 0
    second = study.committed("out")
    assert (second.serial, second.table) == (2, first.table)
    assert TableReader(study.data / "out", second, study.keyset()).read().to_pydict() == {"x": [2]}
    assert sorted(p.name for p in (study.data / "out").glob("*.parquet")) == [f.path for f in second.files]


def test_output_untouched_is_not_committed(study: Study) -> None:
    study.grant("out", "write", "table", "clinic/results")
    assert study.run("pass") == 0
    assert not list((study.data / "commits").iterdir())


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import os; os.mkdir('out'); open('out/t.parquet', 'w').write('no parquet')", InvalidFormat),
        ("open('out', 'w').write('a,b')", InvalidFormat),
        ("import os; os.symlink('/etc/passwd', 'out')", Misuse),
        ("import os; os.mkfifo('out')", Misuse),
    ],
)
def test_what_is_no_table_is_refused(study: Study, program: str, error: type[Exception]) -> None:
    study.grant("out", "write", "table", "clinic/results")
    with pytest.raises(error):
        study.run(program)
    assert not list((study.data / "commits").iterdir())


def _cut(folder: Path) -> None:
    path = next(folder.glob("*.txt"))
    path.write_bytes(path.read_bytes()[:-1])


def _remove(folder: Path) -> None:
    next(folder.glob("*.txt")).unlink()


def _add(folder: Path) -> None:
    (folder / "z.txt").write_bytes(next(folder.glob("*.txt")).read_bytes())


def _flip(folder: Path) -> None:
    path = next(folder.glob("*.txt"))
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [(_cut, FileChanged), (_flip, FileChanged), (_remove, FileMissing), (_add, FileUnlisted)],
)
def test_spoilt_input_stops_the_program_before_it_starts(
    study: Study, spoil: object, error: type[Exception]
) -> None:
    _notes(study)
    assert callable(spoil)
    spoil(study.data / "notes")
    with pytest.raises(error):
        study.run("pass")
    assert not any(status["state"] == "started" for status in study.said)


def test_input_that_was_never_committed(study: Study) -> None:
    study.grant("data", "read", "table", "clinic/patients")
    with pytest.raises(FileMissing):
        study.run("pass")


def test_location_outside_the_data_root(study: Study) -> None:
    study.grant("s3a://bucket/x", "read", "table", "clinic/patients")
    with pytest.raises(Misuse):
        study.run("pass")


def test_input_larger_than_the_scratch_space(study: Study) -> None:
    folder = study.root / "big"
    folder.mkdir()
    (folder / "x.bin").write_bytes(bytes(80 << 20))
    listing = encrypt_files(
        folder, study.data / "big", study.keyset(), KeyName.parse("clinic/patients"), location="big"
    )
    study.grant("big", "read", "files", "clinic/patients", listing=listing)
    with pytest.raises(StorageUnavailable):
        study.run("pass")


def test_interrupted_program_keeps_its_log_and_commits_nothing(study: Study) -> None:
    study.grant("out", "write", "files", "clinic/results")
    study.logs = "clinic/logs"

    def interrupt(status: Mapping[str, object]) -> None:
        if status["state"] == "started":
            logs = study.data / "confide-logs"
            while (
                sum(path.stat().st_size for path in logs.iterdir()) < 2**20
            ):  # bounded by the suite's timeout
                time.sleep(0.02)
            raise KeyboardInterrupt

    program = (
        "import time\nopen('out/x', 'w').write('x')\nprint('said\\n' * 2**19, flush=True)\ntime.sleep(600)"
    )
    with pytest.raises(KeyboardInterrupt):
        study.run(program, on_status=interrupt)
    assert _log(study).startswith("said\n")
    assert not list((study.data / "commits").iterdir())


def test_scikit_learn_program(study: Study) -> None:
    _patients(study)
    study.grant("models", "write", "files", "clinic/results")
    study.logs = "clinic/logs"
    program = (
        "import pickle\n"
        "import pandas as pd\n"
        "from sklearn.ensemble import RandomForestRegressor\n"
        "frame = pd.read_parquet('data/patients')\n"
        "model = RandomForestRegressor(n_estimators=4, n_jobs=2).fit(frame[['age']], frame.age)\n"
        "with open('models/forest.pkl', 'wb') as file: pickle.dump(model, file)\n"
    )
    assert study.run(program) == 0, _log(study)
    assert [file.path for file in study.committed("models").files] == ["forest.pkl"]
