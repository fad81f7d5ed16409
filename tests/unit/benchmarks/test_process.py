"""Accounting of process trees; what is compared is counted work, never a time limit."""

import os
import sys

import pytest
from benchmarks.process import CommandFailed, measure

BURN = "import time\nwhile time.process_time() < 0.3: pass"


def python(code, **options):
    return measure([sys.executable, "-c", code], **options)


def test_output_and_memory():
    done = python("x = b'x' * 50_000_000; print('hello')")
    assert done.output == "hello\n"
    assert done.usage.peak_rss_bytes > 50_000_000
    assert done.usage.ended == 0


def test_counts_children_that_nobody_waits_for():
    done = python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])")
    assert done.usage.cpu_s >= 0.3


def test_counts_children_that_are_waited_for_once():
    waited = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])")
    assert 0.3 <= waited.usage.cpu_s < 0.6


def test_ends_what_outlives_the_grace():
    done = python(
        "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)",
        grace_s=0.1,
    )
    assert done.usage.ended == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.output), 0)


def test_failure_shows_the_end_of_standard_error():
    with pytest.raises(CommandFailed, match=r"exit 3\s+no luck"):
        python("import sys; sys.stderr.write('no luck'); sys.exit(3)")


def test_missing_program():
    with pytest.raises(CommandFailed, match="no-such-program"):
        measure(["no-such-program"])


def test_passes_descriptors_and_environment(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("word")
    fd = os.open(secret, os.O_RDONLY)
    try:
        code = f"import os; print(os.read({fd}, 10).decode(), os.environ['EXTRA'], os.getcwd())"
        done = python(code, pass_fds=(fd,), env={"EXTRA": "e"}, cwd=tmp_path)
    finally:
        os.close(fd)
    assert done.output.split() == ["word", "e", str(tmp_path)]
