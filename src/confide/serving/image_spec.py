"""What the images of the serving profile hold, and how a model becomes one."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path, PurePath

from confide.data.listing_io import LISTING_NAME
from confide.enclave.app_sources import App
from confide.enclave.image import APP, Limits
from confide.enclave.layers import Source
from confide.enclave.profile import ImageProfile
from confide.enclave.python_sources import distribution_of
from confide.enclave.script_metadata import ScriptMetadata
from confide.errors import InvalidImage, MissingDependency
from confide.serving.configuration import MAX_BYTES, Configuration
from confide.serving.runtime import CONVERSIONS, KINDS, PLACES, Kind, conversion, kind_of

CONFIGURATION = f"{APP}/serving.toml"
MODELS = f"{APP}/models"
_EMPTY = b"version = 1\n"
_ADDRESS = r"[0-9A-Za-z.:\[\]-]{1,255}:[0-9]{1,5}"
_NEEDED = ("numpy", "prometheus_client")
_GRPC = frozenset({"grpclib", "protobuf"})
"""What gRPC needs: of the images alone whose owner allows plain requests, as it serves no others."""

_TRACES = frozenset({"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"})
"""The same of traces, of images whose owner wants them."""


def image_profile() -> ImageProfile:
    """Return the serving profile: Python, `confide`, its server; what runs a model comes with the model.

    Raises:
        MissingDependency: the extra is not installed.
    """
    if any(find_spec(module) is None for module in _NEEDED):
        raise MissingDependency("serving needs more than is installed: install the extra `confide[serving]`")
    return ImageProfile(
        name="serving",
        entry="confide.serving.entry",
        distributions=("confide", "uvicorn", "numpy", "prometheus-client"),
        launch={
            "listen": _ADDRESS,
            "grpc": _ADDRESS,
            "names": r"[0-9A-Za-z.:-]{1,253}(,[0-9A-Za-z.:-]{1,253}){0,15}",
        },
        limits=Limits(memory_mib=4096, scratch_mib=4096),
        read_app=read_models,
    )


def read_models(program: Path, includes: Iterable[Path] = ()) -> App:
    """Read what is to be served.

    Args:
        program: a model; a folder of models, plain, or of a location of sealed ones, of which the image holds
            nothing; or the owner's configuration, `*.toml`.
        includes: further models, plain.

    Raises:
        InvalidImage: nothing of these, or a configuration that names no models that are there.
        MissingDependency: what runs a model is not installed.
        InvalidFormat: a configuration with faults.
    """
    folder = program.parent.resolve()
    document, plain = _EMPTY, list(includes)
    sealed: list[PurePath] = []
    if program.suffix == ".toml":
        document = _read(program)
        plain += map(Path, Configuration.from_toml(document).models)
    elif (program / LISTING_NAME).exists():
        sealed += program.rglob("*")  # their names are no secret
    else:
        plain.append(Path(program.name))
    configuration = Configuration.from_toml(document)
    files: dict[str, Source] = {CONFIGURATION.lstrip("/"): document}
    for each in plain:
        for inside, path in _models_of(folder, each):
            if files.setdefault(f"{MODELS.lstrip('/')}/{inside}", path) != path:
                raise InvalidImage(f"two files for {inside} among the models")
    kinds = {kind for path in (*map(PurePath, files), *sealed) if (kind := kind_of(path))}
    kinds |= {KINDS[name] for name in configuration.runtimes}
    needed = {_distribution(kind) for kind in kinds or {KINDS["onnx"]}}
    if configuration.plain_requests:
        needed |= _GRPC
    if configuration.traces is not None:
        try:
            needed |= {metadata.distribution(name).name for name in _TRACES}
        except metadata.PackageNotFoundError:
            raise MissingDependency(
                "[traces] needs OpenTelemetry: install the extra `confide[otel]`"
            ) from None
    return App(CONFIGURATION, files, frozenset(), ScriptMetadata(), distributions=frozenset(needed))


def _distribution(kind: Kind) -> str:
    found = distribution_of(kind.library)
    if found is None:
        raise MissingDependency(
            f"models of {kind.name} need {kind.library}: install the extra `confide[{kind.extra}]`"
        )
    return found


def _models_of(folder: Path, model: Path) -> Iterable[tuple[str, Path]]:
    path = (folder / model).resolve()
    if not path.is_relative_to(folder):
        raise InvalidImage(f"{model} is not in the folder {folder}")
    if path.is_file():
        if kind_of(path) is None:
            raise InvalidImage(f"{model} is no model that is served{conversion(path)}")
        yield path.name, path
        yield from ((other.name, other) for other in sorted(folder.glob(f"{path.name}.*")) if other.is_file())
        return
    found = [each for each in sorted(path.rglob("*")) if each.is_file() and not each.name.startswith(".")]
    if not any(kind_of(each) for each in found):
        others = "".join(conversion(each) for each in found if each.suffix in CONVERSIONS)
        raise InvalidImage(f"{model}: no model there ({', '.join(PLACES)}){others}")
    for each in found:
        yield each.relative_to(path).as_posix(), each


def _read(program: Path) -> bytes:
    try:
        with program.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidImage(f"{program}: {error.strerror}") from None
