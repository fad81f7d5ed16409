"""From what the user names (a program, an image folder) to an image and its measurement."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from confide.cli.hints import advice
from confide.errors import InvalidImage, Misuse, NotLocked

if TYPE_CHECKING:
    from confide.broker.home import Home
    from confide.enclave.image import Image, Limits
    from confide.enclave.profile import ImageProfile


def _spark(cache: Path) -> ImageProfile:
    from confide.spark.image_spec import image_profile

    return image_profile(cache / "jvm")


def _python(_: Path) -> ImageProfile:
    from confide.python.image_spec import image_profile

    return image_profile()


def _flink(cache: Path) -> ImageProfile:
    from confide.flink.image_spec import image_profile

    return image_profile(cache)


PROFILES: Mapping[str, Callable[[Path], ImageProfile]] = {"spark": _spark, "flink": _flink, "python": _python}
"""Profile -> what its images hold, given the cache of images, for what has to be fetched or compiled."""


@dataclass(frozen=True)
class ProgramOptions:
    """What a user may say about a program, on the command line of `allow`, `image build` and `run` alike.

    Attributes:
        profile: `spark`, `flink` or `python`.
        args: regular expressions of further arguments that may be given at launch.
        includes: files or folders beside the program to take along.
        owners: owners whose release is needed.
        memory_mib, scratch_mib, cores: limits; None: the profile's.
    """

    profile: str = "spark"
    args: tuple[str, ...] = ()
    includes: tuple[Path, ...] = ()
    owners: tuple[str, ...] = ()
    memory_mib: int | None = None
    scratch_mib: int | None = None
    cores: int | None = None


@dataclass(frozen=True)
class BuiltImage:
    """An image folder, its document, and the document's hash."""

    folder: Path
    image: Image
    measurement: str


def image_of(program: Path, brokers: Mapping[str, str], options: ProgramOptions) -> BuiltImage:
    """Return the image of `program`, built now unless the cache holds it; an image folder stands for itself.

    Raises:
        Misuse: no such program, or no such profile.
        InvalidImage: it cannot be built.
    """
    from confide.enclave.build import Recipe, build_cached, default_cache
    from confide.enclave.image import IMAGE_FILE, measurement, read_image

    if (program / IMAGE_FILE).is_file():
        image = read_image(program)
        return BuiltImage(program, image, measurement(image))
    if not program.is_file():
        raise Misuse(f"no program at {program}")
    cache = default_cache(os.environ.get("XDG_CACHE_HOME"))
    profile = image_profile(options.profile, cache)
    limits = replace_limits(profile, options)
    recipe = Recipe(
        program=program,
        profile=profile,
        name=program.stem,
        brokers=brokers,
        limits=limits,
        owners=options.owners,
        args=options.args,
        includes=options.includes,
    )
    with advice(NotLocked, f"`confide image lock {program}` writes {program.name}.lock; keep both together."):
        folder, image = build_cached(recipe, cache)
    return BuiltImage(folder, image, measurement(image))


def image_profile(name: str, cache: Path) -> ImageProfile:
    """Return what images of the profile hold.

    Raises:
        Misuse: no profile of that name.
    """
    if name not in PROFILES:
        raise Misuse(f"no profile called {name!r} (there are: {', '.join(PROFILES)})")
    return PROFILES[name](cache)


def replace_limits(profile: ImageProfile, options: ProgramOptions) -> Limits:
    """Return the profile's limits with the user's in their place."""
    chosen = {
        name: value
        for name in ("memory_mib", "scratch_mib", "cores")
        if (value := getattr(options, name)) is not None
    }
    return profile.limits.model_copy(update=chosen)


def keep_image(home: Home, built: BuiltImage) -> None:
    """Keep the document of an approved image, to say later what changed."""
    from confide.data.atomic import atomic_file

    folder = home.path / "images"
    folder.mkdir(mode=0o700, exist_ok=True)
    with atomic_file(folder / f"{built.measurement}.json", overwrite=True) as file:
        file.write(built.image.canonical())


def what_changed(home: Home, built: BuiltImage) -> str | None:
    """Return how `built` differs from the newest approved image of the same name; None if none is known."""
    from confide.enclave.diff import diff_images
    from confide.enclave.image import parse_image

    folder = home.path / "images"
    if not folder.is_dir():
        return None
    for path in sorted(folder.glob("*.json"), key=lambda p: p.stat().st_mtime, reverse=True):
        try:
            approved = parse_image(path.read_bytes())
        except InvalidImage:
            continue
        if approved.name == built.image.name and path.stem != built.measurement:
            found = diff_images(approved, built.image)
            return found.summary() + (f": give --profile {found.profiles[0]}" if found.profiles else "")
    return None
