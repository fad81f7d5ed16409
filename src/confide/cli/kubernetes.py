"""`confide run --dry-run k8s`: print what would run the image on a cluster, and run nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from confide.cli.brokers import named_authorities
from confide.cli.output import emit, say
from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.enclave.image import Image

CLUSTER = "k8s"


def print_objects(
    program: Path,
    arguments: Sequence[str],
    *,
    tee: str,
    container: str,
    brokers: Sequence[str],
    authorities: Sequence[Path],
    launch: Mapping[str, str],
    workers: int,
    worker_cores: int | None,
    executor_image: Path | None,
    libos: str | None,
) -> None:
    """Print the objects as one JSON document, which `kubectl apply -f -` takes.

    Raises:
        Misuse: something is missing that pods need; or no pods have this TEE.
        InvalidImage: a folder holds no image.
        LaunchRefused: the image does not take these arguments or parameters.
    """
    from confide.enclave.kubernetes import DATA_CLAIM, IMAGES_CLAIM, PodRun, objects
    from confide.enclave.launch import ARGS, BROKER_PREFIX, EXECUTOR, check_launch, join_arguments

    if not tee:
        raise Misuse("which TEE do the pods have? Give --tee")
    if not brokers or len(brokers) != len(authorities):
        raise Misuse("pods ask brokers elsewhere: give --broker URL --broker-ca FILE, for each one")
    if workers and len(brokers) > 1:
        raise Misuse("--workers: a job has one broker, at which all its owners are (docs/cluster.md)")
    image = _image(program, "confide image build PROGRAM -o FOLDER")
    executor = None
    if workers:
        if executor_image is None:
            raise Misuse(
                "--workers: give --executor-image, which `confide image build --role executor` builds"
            )
        executor = _image(executor_image, "confide image build PROGRAM --role executor -o FOLDER")
        if executor.role != EXECUTOR:
            raise Misuse(f"{executor_image} is no image of executors: its role is {executor.role}")
    named = dict(zip(named_authorities(list(authorities)), brokers, strict=True))
    parameters = {**launch, **{BROKER_PREFIX + name: url for name, url in named.items()}}
    check_launch(image, {**parameters, **({ARGS: join_arguments(arguments)} if arguments else {})})
    run = PodRun(
        tee=tee,
        container=container,
        folder=program.resolve().name,
        image=image,
        brokers=[(url, path.name) for url, path in zip(brokers, authorities, strict=True)],
        arguments=tuple(arguments),
        launch=launch,
        workers=workers,
        executor_folder=executor_image.resolve().name if executor_image else "",
        executor=executor,
        worker_cores=worker_cores,
        libos=libos,
    )
    emit(objects(run))
    say(
        f"the claim {IMAGES_CLAIM} holds the image folders and the brokers' certificates, {DATA_CLAIM} the data; "
        "then: confide run --dry-run k8s ... | kubectl apply -f -   (docs/how-to/kubernetes.md)"
    )


def _image(folder: Path, how: str) -> Image:
    from confide.enclave.image import IMAGE_FILE, read_image

    if not (folder / IMAGE_FILE).is_file():
        raise Misuse(f"{folder} is no image folder, and pods build none: `{how}`")
    return read_image(folder)
