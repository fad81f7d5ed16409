"""Profiles: what hardens an engine. `ImageProfile` says what its images hold, `Profile` runs the workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from confide.broker.release import Release
from confide.data.listing import ListedFile, Listing
from confide.enclave.attester import OwnEvidence
from confide.enclave.image import Image, Limits
from confide.enclave.processes import Starter, start_child

if TYPE_CHECKING:
    from confide.broker.mesh_member import MeshIdentity
    from confide.enclave.app_sources import App  # needs what stays outside

STREAM = "stream"
"""Setting of an image: JSON list of the tables that its program reads itself, sorted."""


@dataclass(frozen=True)
class ImageProfile:
    """What the images of a profile hold, and how they start.

    Attributes:
        name: of the profile.
        entry: module whose `__main__` is the first process in the enclave.
        engine: a script that declares (PEP 723) and locks what the engine takes from a package index; None: nothing,
            it is installed beside `confide`.
        distributions: installed Python distributions to take along with what they require; an extra is
            written `name[extra]`.
        programs: host programs to take along at their own path, besides bubblewrap.
        java: take the Java runtime along.
        env: environment besides the fixed one.
        launch: launch parameters that the profile takes, name -> regular expression.
        members: role -> the same for images of that role, which join the job of a driver and take no arguments.
        settings: fixed settings.
        streams: whether programs may declare tables that they read themselves (`STREAM` among the settings).
        files: further files, path inside the enclave (no leading '/') -> path on the builder's machine.
        limits: default limits.
        read_app: from what the user names, and includes, to what of it becomes part of the image; None: it is a
            Python program (`app_sources.read_app`).
    """

    name: str
    entry: str
    engine: Path | None = None
    distributions: tuple[str, ...] = ("confide",)
    programs: tuple[str, ...] = ()
    java: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    launch: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    streams: bool = False
    files: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(memory_mib=2048, scratch_mib=2048))
    read_app: Callable[[Path, Iterable[Path]], App] | None = None


@dataclass(frozen=True)
class Context:
    """What the agent hands to a profile once keys are released.

    Attributes:
        image: the measured document.
        launch: launch parameters, checked against the image's grammar.
        arguments: the program's arguments, checked.
        release: keys and grants, merged over all brokers.
        work: the data root inside the enclave; the program's working directory.
        scratch: private scratch space.
        socket: the agent socket; also in the environment as `CONFIDE_AGENT`.
        output: descriptor to which the workload's stdout and stderr go; never the host's.
        secrets: per-run secrets that the agent socket hands out by name (`{"op":"secret"}`); the profile
            fills it before it starts processes that ask for them.
        commit: commits the complete new list of files of a location:
            (location, table id, base serial, files) -> (new listing, the broker's JWS).
        started: to be called once, when the workload's process runs.
        mesh: who this workload is among the members of its job: what it joined by its launch parameters, or, for
            a driver, a job that is opened now.
        tell: tells the operator a further state, by name and details that hold nothing of the data.
        evidence: has evidence made of this enclave, for others than the brokers.
        renew: asks the brokers again what they release; raises what `KbsClient` and `merge_releases` raise.
        start: starts a program; under a library OS, whose programs are forked before there are keys, the only way.
    """

    image: Image
    launch: Mapping[str, str]
    arguments: tuple[str, ...]
    release: Release
    work: Path
    scratch: Path
    socket: Path
    output: int
    secrets: dict[str, object]
    commit: Callable[[str, str, int, Sequence[ListedFile]], tuple[Listing, dict[str, str]]]
    started: Callable[[], None]
    mesh: Callable[[], MeshIdentity]
    tell: Callable[..., None]
    evidence: OwnEvidence
    renew: Callable[[], Release]
    start: Starter = start_child


class Profile(Protocol):
    """Runs the workload of one engine."""

    def run(self, context: Context) -> int:
        """Run the workload to its end and return its exit code.

        Children go into the agent's process group (the default), so that the agent can end them all.
        """
        ...
