from __future__ import annotations

import pytest

from .compare import Outcome, difference, outcomes, same, settled


def test_each_program_has_its_own_output():
    found = outcomes(
        'x\n=== a\n1\n2\n=== {"ended": null, "seconds": 1}\n=== b\n3\n=== {"ended": "E", "seconds": 2}\n'
    )
    assert found == {"a": Outcome("1\n2", None, 1), "b": Outcome("3", "E", 2)}


def test_a_program_that_took_the_run_with_it_did_not_finish():
    assert outcomes("=== a\n1\n")["a"].ended is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mean 0.30000000000000004", "mean 0.3"),
        ("a\nb", "b\na"),
        ("KMeans_0123456789ab fitted", "KMeans_ba9876543210 fitted"),
        ("<f at 0x7f00>", "<f at 0x7f11>"),
        ("1", "26/11/27 10:00:00 WARN NativeCodeLoader: no library\n1"),
        ("1  \n\n2", "1\n2"),
    ],
)
def test_these_say_the_same(one, other):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mean 0.3", "mean 0.3001"),
        ("a", "a\na"),
        ("a", ""),
        ("a 1", "b 1"),
        ("count 100", "count 101"),
        ("[1, 2]", "[2, 1]"),
    ],
)
def test_these_do_not(one, other):
    assert not same(one, other)


UNREAD = """Traceback (most recent call last):
  File "/a/pyspark/daemon.py", line 267, in manager
    code = worker(sock, authenticated)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/a/pyspark/daemon.py", line 93, in worker
    outfile.flush()
BrokenPipeError: [Errno 32] Broken pipe
"""


def test_a_worker_whose_output_nobody_reads_says_so_and_that_is_no_difference():
    assert same("1", f"{UNREAD}1")
    interleaved = "".join(line * 2 for line in UNREAD.splitlines(keepends=True))
    assert same("1", f"{interleaved}1")
    assert not same("1", UNREAD.replace("daemon", "worker") + "1")
    assert not same("1", UNREAD.replace("BrokenPipeError: [Errno 32]", "ValueError:") + "1")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a 1\nb", "b\nc", "new: 'c'"),
        ("a 1\nb", "b", "missing: 'a 1'"),
        ("a 1", "a 2", "1 lines became 1, or numbers differ"),
    ],
)
def test_what_differs_is_named(one, other, said):
    assert difference(one, other) == said


def test_a_stream_may_be_cut_into_other_batches():
    one = "Time: 1\n----\n('a', 1)\nTime: 2\n----\n('b', 2)\n| a|1|"
    other = "Time: 3\n----\n('b', 2)\n('a', 1)\n|a|1|\n=== 1 ===\n+-+-+"
    assert settled(one) == settled(other) != settled(one.replace("2)", "3)"))


def test_a_stream_may_be_read_at_another_time():
    one = "|good|{2026-11-27 18:50:00, 2026-11-27 18:55:00}|2|\n|good|1795805737|2|"
    other = "|good|{2026-11-28 09:00:00.123, 2026-11-28 09:05:00}|2|\n|good|1795905737|2|"
    assert settled(one) == settled(other) != settled(other.replace("|2|", "|3|"))
