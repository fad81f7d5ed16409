"""Runs PySpark programs, each as `python PROGRAM` would run it, in one process; says where each begins and how it ends.

It knows nothing of `confide`: the same file runs with plain Spark. Beside it lies `programs.json`, a list of
{"name", "path" (relative to this file), "args", "stream"}. The output of a program stands between two lines that
begin with `=== `; the second ends in JSON.

A stream never ends by itself: once it has taken what there is, it is stopped from outside.
"""

import contextlib
import json
import random
import runpy
import sys
import threading
import time
import warnings
from pathlib import Path

MARK = "=== "
STREAM_SECONDS = 6.0
"""For what is sent to arrive, before a stream is asked to stop."""
TIMEOUT_SECONDS = 10.0
"""After which programs take a session for ended."""


def main():
    folder = Path(__file__).parent
    sys.stdout.reconfigure(line_buffering=True)
    for program in json.loads((folder / "programs.json").read_text()):
        print(f"{MARK}{program['name']}", flush=True)
        began = time.monotonic()
        ended = run(folder / program["path"], program["args"], program["stream"])
        seconds = round(time.monotonic() - began, 1)
        print(f"\n{MARK}{json.dumps({'ended': ended, 'seconds': seconds})}", flush=True)


def run(path, arguments, stream):
    """Run a program; return None if it finished, or else what ended it."""
    warnings.simplefilter("ignore")
    random.seed(0)
    with contextlib.suppress(ImportError):
        import numpy

        numpy.random.seed(0)
    sys.argv = [str(path), *arguments]
    over = threading.Event()
    if stream:
        threading.Thread(target=stop_streams, args=(over,), daemon=True).start()
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as error:
        return None if not error.code else f"exit code {error.code}"
    except BaseException as error:
        return said(error)
    finally:
        over.set()
        clean_up()
    return None


def said(error):
    """Return what an error says: its last cause where the JVM names one, without stacks and folders."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    about = [
        line for line in lines if not line.startswith(("at ", "JVM stacktrace", "An error occurred while"))
    ]
    causes = [line.removeprefix("Caused by: ") for line in about if line.startswith("Caused by: ")]
    text = [*about[:1], *causes][-1] if about else ""
    return f"{type(error).__name__}: {text.removeprefix(': ')}".replace(str(Path(__file__).parent), ".")[:400]


def stop_streams(over):
    from pyspark.sql import SparkSession
    from pyspark.streaming import StreamingContext

    quiet = 0
    while not over.wait(STREAM_SECONDS):
        session = SparkSession._instantiatedSession
        queries = session.streams.active if session else ()
        quiet = quiet + 1 if queries and all(map(took_all, queries)) else 0
        if quiet * STREAM_SECONDS > TIMEOUT_SECONDS:
            for query in queries:
                query.stop()
        context = StreamingContext.getActive()
        if context is not None:
            context.stop(stopSparkContext=False, stopGraceFully=True)


def took_all(query):
    """Return whether a stream has taken rows, and its newest batch none: timeouts of state make batches without end."""
    taken = [progress.numInputRows for progress in query.recentProgress]
    idle = not (query.status["isDataAvailable"] or query.status["isTriggerActive"])
    return any(taken) and (idle or not taken[-1])


def clean_up():
    """Leave no session behind for the next program."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    with contextlib.suppress(Exception):
        if SparkSession._instantiatedSession is not None:
            SparkSession._instantiatedSession.stop()
    with contextlib.suppress(Exception):
        if SparkContext._active_spark_context is not None:
            SparkContext._active_spark_context.stop()


if __name__ == "__main__":
    main()
