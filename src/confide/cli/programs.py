"""From what the user names (a program, an image folder) to an image and its measurement."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from confide.cli.hints import advice
from confide.errors import InvalidImage, MeasurementRefused, Misuse, NotLocked

if TYPE_CHECKING:
    from confide.broker.home import Home
    from confide.enclave.enclave_needs import EnclaveNeeds
    from confide.enclave.image import Image, Limits
    from confide.enclave.profile import ImageProfile


def _spark(cache: Path, libos: str | None) -> ImageProfile:
    from confide.spark.engine import SPARK
    from confide.spark.image_spec import image_profile

    return image_profile(cache / "jvm", SPARK, enclave=libos is not None)


def _spark35(cache: Path, libos: str | None) -> ImageProfile:
    from confide.spark.engine import SPARK35
    from confide.spark.image_spec import image_profile

    return image_profile(cache / "jvm", SPARK35, enclave=libos is not None)


def _python(_: Path, __: str | None) -> ImageProfile:
    from confide.python.image_spec import image_profile

    return image_profile()


def _serving(_: Path, __: str | None) -> ImageProfile:
    from confide.serving.image_spec import image_profile

    return image_profile()


def _flink(cache: Path, _: str | None) -> ImageProfile:
    from confide.flink.image_spec import image_profile

    return image_profile(cache)


PROFILES: Mapping[str, Callable[[Path, str | None], ImageProfile]] = {
    "spark": _spark,
    "spark35": _spark35,
    "flink": _flink,
    "python": _python,
    "serving": _serving,
}
"""Profile -> what its images hold, given the cache (for what has to be fetched or compiled) and a library OS."""


def _spark_needs(image: Image) -> EnclaveNeeds:
    from confide.spark.enclave import enclave_needs

    return enclave_needs(image)


def _python_needs(image: Image) -> EnclaveNeeds:
    from confide.python.enclave import enclave_needs

    return enclave_needs(image)


def _flink_needs(image: Image) -> EnclaveNeeds:
    from confide.flink.enclave import enclave_needs

    return enclave_needs(image)


def _serving_needs(image: Image) -> EnclaveNeeds:
    from confide.serving.enclave import enclave_needs

    return enclave_needs(image)


ENCLAVE_NEEDS: Mapping[str, Callable[[Image], EnclaveNeeds]] = {
    "spark": _spark_needs,
    "flink": _flink_needs,
    "python": _python_needs,
    "serving": _serving_needs,
}
"""Profile -> what an image of it needs of an enclave."""


@dataclass(frozen=True)
class ProgramOptions:
    """What a user may say about a program, on the command line of `allow`, `image build` and `run` alike.

    Attributes:
        profile: `spark`, `spark35`, `flink`, `python` or `serving`.
        args: regular expressions of further arguments that may be given at launch.
        includes: files or folders beside the program to take along.
        owners: owners whose release is needed.
        memory_mib, scratch_mib, cores: limits; None: the profile's.
        role: `driver`, or one of the profile's members of a driver's job.
        settings: of Spark, by name.
        py_files: modules and archives of modules.
        jars: for the class path.
        main_class: of a program that is a jar.
        libos: library OS that it is to run under; None: any TEE without one.
    """

    profile: str = "spark"
    args: tuple[str, ...] = ()
    includes: tuple[Path, ...] = ()
    owners: tuple[str, ...] = ()
    memory_mib: int | None = None
    scratch_mib: int | None = None
    cores: int | None = None
    role: str = "driver"
    settings: Mapping[str, str] = field(default_factory=dict)
    py_files: tuple[Path, ...] = ()
    jars: tuple[Path, ...] = ()
    main_class: str | None = None
    libos: str | None = None


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
    if not program.exists() or (program.is_dir() and options.profile != "serving"):
        raise Misuse(f"no program at {program}")
    _check_spark(program, options)  # before anything is built
    if options.role == "executor":
        check_executors(options.profile, options.libos)
    cache = default_cache(os.environ.get("XDG_CACHE_HOME"))
    profile = image_profile(options.profile, cache, options.libos)
    if _is_server(program, options):
        from confide.spark.image_spec import server_profile

        profile = server_profile(profile, program)
    if options.role not in ("driver", *profile.members):
        raise Misuse(f"profile {options.profile} has no role {options.role!r}")
    limits = replace_limits(profile, options)
    recipe = Recipe(
        program=program,
        profile=profile,
        name=program.stem,
        brokers=brokers,
        role=options.role,
        limits=limits,
        owners=options.owners,
        args=options.args,
        includes=options.includes,
        settings={**options.settings, **({"class": options.main_class} if options.main_class else {})},
        py_files=options.py_files,
        jars=options.jars,
        libos=options.libos,
        distributions=("pandas",) if _wants_pandas(program, options) else (),
    )
    with advice(NotLocked, f"`confide image lock {program}` writes {program.name}.lock; keep both together."):
        folder, image = build_cached(recipe, cache)
    return BuiltImage(folder, image, measurement(image))


def _check_spark(program: Path, options: ProgramOptions) -> None:
    given = {
        "--conf": options.settings,
        "--py-files": options.py_files,
        "--jars": options.jars,
        "--class": options.main_class,
    }
    from confide.spark.engine import ENGINES, NO_LIBOS, SPARK

    engine = ENGINES.get(options.profile)
    if options.profile == "flink":
        del given["--jars"]
    for option in (name for name, value in given.items() if value and engine is None):
        others = " and Flink" if option == "--jars" else ""
        raise Misuse(f"{option} is for programs of Spark{others}, and this one has profile {options.profile}")
    if engine not in (None, SPARK) and program.suffix in (".sql", ".toml"):
        raise Misuse(
            f"profile {options.profile} is for programs of Python and of jars; files of SQL and servers run with "
            "Spark 4.3 (--profile spark)"
        )
    if (program.suffix == ".jar") != (options.main_class is not None):
        raise Misuse(
            "a program that is a jar needs --class, the class whose main to run, and no other has one"
        )
    if engine is not None and not engine.unix_sockets and options.libos is not None:
        raise Misuse(f"profile {options.profile} does not run under {options.libos}: {NO_LIBOS}")
    if _is_server(program, options) and options.libos is not None:
        raise Misuse("servers of Spark do not run in enclaves of SGX yet; confidential VMs can")
    if options.settings and engine is not None:
        from confide.spark.image_spec import check_settings

        check_settings(
            options.settings,
            server=_is_server(program, options),
            engine=engine,
            memory_mib=options.memory_mib,
        )


def _is_server(program: Path, options: ProgramOptions) -> bool:
    from confide.spark.server_configuration import is_server

    return options.profile == "spark" and is_server(program)


def check_executors(profile: str, libos: str | None) -> None:
    """Return if programs of the profile have executors, in enclaves of that library OS if one is named.

    Raises:
        Misuse: they have none, and why.
    """
    from confide.spark.engine import ENGINES, NO_EXECUTORS

    if profile in ENGINES and not ENGINES[profile].unix_sockets:
        raise Misuse(f"profile {profile} has no executors in enclaves of their own: {NO_EXECUTORS}")
    if profile == "flink" and libos is not None:
        raise Misuse(f"Flink's task managers do not run in enclaves of their own under {libos} yet")


def image_of_executors(
    program: Path, folder: Path | None, brokers: Mapping[str, str], options: ProgramOptions
) -> BuiltImage:
    """Return the image of a program's executors: that in `folder`, if one is given, or else built as `image_of` does.

    Raises:
        Misuse: `folder` is no image of executors; or `program` is an image folder, and `folder` is not given.
        InvalidImage: it cannot be built.
    """
    from confide.enclave.image import IMAGE_FILE
    from confide.enclave.launch import EXECUTOR

    if folder is None and (program / IMAGE_FILE).is_file():
        raise Misuse(
            f"{program} is an image folder: `confide image build PROGRAM --role executor` builds the one of its "
            "executors, which --executor-image names"
        )
    built = image_of(folder or program, brokers, replace(options, role=EXECUTOR))
    if built.image.role != EXECUTOR:
        raise Misuse(f"{built.folder} is no image of executors: its role is {built.image.role}")
    return built


def _wants_pandas(program: Path, options: ProgramOptions) -> bool:
    """Whether a Spark program's text names pandas: `toPandas` needs it, and small images come without."""
    return (
        options.libos is not None and options.profile == "spark" and b"pandas" in program.read_bytes().lower()
    )


def image_profile(name: str, cache: Path, libos: str | None = None) -> ImageProfile:
    """Return what images of the profile hold.

    Raises:
        Misuse: no profile of that name.
    """
    if name not in PROFILES:
        raise Misuse(f"no profile called {name!r} (there are: {', '.join(PROFILES)})")
    return PROFILES[name](cache, libos)


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


def with_changes(error: MeasurementRefused, home: Home | None, built: BuiltImage) -> MeasurementRefused:
    """Return the refusal of an image, with what differs from the approved one where the home knows it."""
    changed = None if home is None else what_changed(home, built)
    return MeasurementRefused(f"{error}; against the approved image: {changed}") if changed else error


def what_changed(home: Home, built: BuiltImage) -> str | None:
    """Return how `built` differs from the newest approved image of its name and role; None if none is known."""
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
        same = (approved.name, approved.role) == (built.image.name, built.image.role)
        if same and path.stem != built.measurement:
            found = diff_images(approved, built.image)
            return found.summary() + (f": give --profile {found.profiles[0]}" if found.profiles else "")
    return None
