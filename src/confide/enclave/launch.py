"""Launch parameters: what may vary between runs of one image, each checked against the measured grammar.

They are names and values. `args` holds the program's arguments, joined as a POSIX shell would quote them;
`broker.<name>` holds the URL of a broker that the image pins; every other name is one that the image's
`launch` lists. Nothing here is ever a path to code or a flag of an interpreter.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from confide.broker.mesh_names import JOB, MEMBER
from confide.enclave.image import Image
from confide.errors import LaunchRefused

ARGS = "args"
DRIVER = "driver"
"""Where the driver listens whose job a member joins."""
BROKER_PREFIX = "broker."
MAX_VALUE_CHARS = 4096
MAX_ARGUMENTS = 64

HOST = r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])"
ADDRESS = rf"{HOST}:[0-9]{{1,5}}"
APPLICATION = r"[A-Za-z0-9._-]{1,128}"
CORES = r"[1-9][0-9]{0,2}"
BROKER_URL = re.compile(rf"https://{HOST}(?::[0-9]{{1,5}})?/?")
EXECUTOR = "executor"
"""Role of who does a driver's work in an enclave of its own: Spark's executors, Flink's task managers."""
EXECUTORS = r"[1-9][0-9]{0,3}"
EXECUTOR_LAUNCH = {
    JOB: r"[0-9a-f]{32}",
    MEMBER: r"[1-9][0-9]{0,8}",
    DRIVER: ADDRESS,
    "application": APPLICATION,
    "host": HOST,
    "cores": CORES,
}
"""Launch parameters of an executor: all of them are needed. Its name in the job is its number."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


def join_arguments(arguments: Sequence[str]) -> str:
    """Return the arguments as one value, from which `split_arguments` gives back exactly these."""
    return shlex.join(arguments)


def split_arguments(value: str) -> tuple[str, ...]:
    """Return the arguments of a joined value.

    Raises:
        LaunchRefused: `join_arguments` never makes such a value.
    """
    try:
        arguments = tuple(shlex.split(value))
    except ValueError as error:
        raise LaunchRefused(f"launch parameter args: {error}") from None
    if shlex.join(arguments) != value:
        raise LaunchRefused("launch parameter args: not quoted as it must be")
    return arguments


def check_launch(image: Image, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the launch parameters if the image's grammar allows every one of them.

    Raises:
        LaunchRefused: an unknown name, a value that does not fully match, is too long, or holds control
            characters; no broker, or one that the image does not pin; a member of a job that lacks one of its
            parameters, or names two brokers.
    """
    for name, value in parameters.items():
        if len(value) > MAX_VALUE_CHARS:
            raise LaunchRefused(
                f"launch parameter {name}: {len(value)} characters, at most {MAX_VALUE_CHARS}"
            )
        if _FORBIDDEN.search(value):
            raise LaunchRefused(f"launch parameter {name}: control characters")
        if name == ARGS:
            _check_arguments(image, split_arguments(value))
        elif name.startswith(BROKER_PREFIX):
            _check_broker(image, name.removeprefix(BROKER_PREFIX), value)
        elif name not in image.launch:
            raise LaunchRefused(f"launch parameter {name}: the image does not declare it")
        elif not re.fullmatch(image.launch[name], value):
            raise LaunchRefused(f"launch parameter {name}: {value!r} does not match {image.launch[name]!r}")
    if not any(name.startswith(BROKER_PREFIX) for name in parameters):
        raise LaunchRefused("no broker is named")
    if JOB in image.launch and (missing := image.launch.keys() - parameters.keys()):
        raise LaunchRefused(f"launch parameter {min(missing)}: not given, and a member of a job needs it")
    if JOB in image.launch:
        broker_of_job(broker_urls(parameters))
    return dict(parameters)


def _check_arguments(image: Image, arguments: tuple[str, ...]) -> None:
    if len(arguments) > MAX_ARGUMENTS:
        raise LaunchRefused(f"{len(arguments)} arguments, at most {MAX_ARGUMENTS}")
    for argument in arguments:
        if not any(re.fullmatch(pattern, argument) for pattern in image.args):
            raise LaunchRefused(f"argument {argument!r} matches none that the program declares")


def _check_broker(image: Image, name: str, url: str) -> None:
    if name not in image.brokers:
        raise LaunchRefused(f"broker {name!r} is not pinned by the image")
    if not BROKER_URL.fullmatch(url):
        raise LaunchRefused(f"broker {name}: not an https URL of a host: {url!r}")


def broker_urls(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return broker name -> URL, sorted by name."""
    return {
        name.removeprefix(BROKER_PREFIX): parameters[name]
        for name in sorted(parameters)
        if name.startswith(BROKER_PREFIX)
    }


def broker_of_job(brokers: Iterable[str]) -> str:
    """Return the broker that decides who belongs to the job of this workload: its only one.

    A broker lets members in for the owners that it knows. With keys of others in the job, who had no say in that, their
    data would be shown to members that they did not approve.

    Raises:
        LaunchRefused: there are several.
    """
    first, *others = sorted(brokers)
    if others:
        raise LaunchRefused(
            f"a job has one broker, at which all its owners are, and {', '.join([first, *others])} are named; "
            "with several brokers a program runs without executors"
        )
    return first
