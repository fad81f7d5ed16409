"""What makes an image large, part by part, and why each part is in it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from confide.enclave.image import APP, JAVA, PYTHON, SITE, Image


@dataclass(frozen=True)
class Part:
    """A part of an image.

    Attributes:
        name: what it is, and why it is there.
        files: how many.
        size: bytes.
    """

    name: str
    files: int
    size: int


def parts(image: Image) -> list[Part]:
    """Return the parts, the largest first."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for file in image.files:
        sizes[_part(f"/{file.path}")].append(file.size)
    found = [Part(name, len(each), sum(each)) for name, each in sizes.items()]
    return sorted(found, key=lambda part: (-part.size, part.name))


def _part(path: str) -> str:
    for folder, name in (
        (PYTHON, "Python and its standard library"),
        (JAVA, "Java, for the profile"),
        (APP, "the program"),
    ):
        if path.startswith(f"{folder}/"):
            return name
    if path.startswith(f"{SITE}/"):
        package = path.removeprefix(f"{SITE}/").partition("/")[0]
        if package.endswith((".dist-info", ".libs")):
            package = package.removesuffix(".dist-info").removesuffix(".libs").partition("-")[0]
        jars = path.endswith(".jar")
        return (
            f"{package}: the engine's jars"
            if jars
            else f"{package}: needed by the profile, the program or these"
        )
    return "system libraries that those load, and the profile's own files"
