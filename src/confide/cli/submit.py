"""Options of `spark-submit` that are called otherwise here: whoever types them is told what to type."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from confide.errors import Misuse

_WORKERS = "give --workers N at `confide run`, and --workers at `policy allow`"
_MEMORY = "give --memory, measured, so at both commands; it holds for driver and executors alike"
_JARS = "what runs is measured: fetch the jars, and give them with --jars"

MASTERS = {
    "local-cluster": f"{_WORKERS}; of Spark 3.5, --conf 'spark.master=local-cluster[N,CORES,MIB]'",
    "local": "give --cores N, measured, so at `policy allow` too; all are used without it",
    "spark": "there is no Master that could start executors, as it would hold the job's secret: "
    f"{_WORKERS}; docs/cluster.md has those on other machines",
    "yarn": f"YARN would hold the job's secret: {_WORKERS}; docs/cluster.md has those on other machines",
    "k8s": "give --dry-run k8s at `confide run`: it prints the objects that run driver and executors "
    "(docs/how-to/kubernetes.md)",
}
OTHERWISE = {
    "--deploy-mode": "the driver runs where `confide run` does: on this machine (client), or in a pod (cluster): "
    "--dry-run k8s of `confide run` prints it",
    "--num-executors": _WORKERS,
    "--executor-cores": "give --worker-cores N at `confide run`",
    "--driver-cores": MASTERS["local"],
    "--total-executor-cores": f"{_WORKERS}; cores of each are --worker-cores",
    "--executor-memory": _MEMORY,
    "--driver-memory": _MEMORY,
    "--packages": _JARS,
    "--repositories": _JARS,
    "--files": "give --include FILE, measured; the program finds it beside itself",
    "--archives": "give --include FOLDER, measured; the program finds it beside itself",
    "--properties-file": "give each setting with --conf NAME=VALUE",
}


def with_habits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command those options, hidden; it raises `Misuse` where one is given."""
    own = inspect.signature(command)
    hidden = {option[2:].replace("-", "_"): option for option in ("--master", *OTHERWISE)}

    @functools.wraps(command)
    def without(*args: object, **given: Any) -> None:
        for name, option in hidden.items():
            value = given.pop(name, None)
            if value is not None:
                raise Misuse(f"{option} {value}: {_instead(option, value)}")
        command(*args, **given)

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(option, hidden=True)],
        )
        for name, option in hidden.items()
    ]
    without.__signature__ = own.replace(parameters=[*own.parameters.values(), *parameters])  # type: ignore[attr-defined]
    return without


def _instead(option: str, value: str) -> str:
    if option != "--master":
        return OTHERWISE[option]
    return MASTERS.get(value.partition(":")[0].partition("[")[0], "Spark knows no such master")
