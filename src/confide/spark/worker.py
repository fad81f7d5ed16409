"""The launcher of Python workers: the one executable that Spark starts for the program's functions.

It drops what workers must not see before Python reads its environment (so that it is not in
`/proc/self/environ` either), and puts the sandbox in front.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from confide.spark.daemon import SECRET_NAMES, SECRET_PREFIXES, UNIX_SOCKETS

WORKERS = "workers"
"""In scratch: where workers write, temporary files and what they spill."""

_CRASHES = "PYTHON_FAULTHANDLER_DIR"
"""Where a worker would tell the JVM why it crashed. The JVM reads what lies there, so no worker writes there."""


def launcher(python: Path, sandbox: Sequence[str], modules: Path, folder: Path, files: Path) -> str:
    """Return the launcher's text.

    Args:
        python: the interpreter.
        sandbox: argv in front of the interpreter's; may be empty.
        modules: folder of the program, whose modules its functions may need; looked at last.
        folder: where workers may write.
        files: where workers begin; executors that share it have folders of their own in it.
    """
    places = dict.fromkeys(("HOME", "TMPDIR", "SPARK_LOCAL_DIRS"), str(folder))
    return f"""#!{python} -IS
import os, sys
unneeded = {SECRET_NAMES!r} if os.environ.get({UNIX_SOCKETS!r}) == "true" else ()
kept = {{
    name: value
    for name, value in os.environ.items()
    if name not in (*unneeded, {_CRASHES!r}) and not name.startswith({SECRET_PREFIXES!r})
}}
kept |= {places!r}
kept["PYTHONPATH"] = os.pathsep.join([*filter(None, [kept.get("PYTHONPATH")]), {str(modules)!r}])
if not os.getcwd().startswith({f"{files}/"!r}):
    os.chdir({str(files)!r})
argv = {[*sandbox, str(python)]!r} + sys.argv[1:]
os.execve(argv[0], argv, kept)
"""


def write_launcher(
    path: Path, python: Path, sandbox: Sequence[str], modules: Path, folder: Path, files: Path
) -> None:
    """Write the launcher, executable; the rest as for `launcher`."""
    path.write_text(launcher(python, sandbox, modules, folder, files), encoding="utf-8")
    path.chmod(0o500)
