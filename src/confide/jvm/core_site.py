"""What Hadoop takes for `file:` in configurations that a library makes of its own, in our jars.

They come first on the class path, and Hadoop reads one `core-site.xml`. `final` is for files that are read later; who
sets the name in a configuration of his own gets what he asks for, where Hadoop keeps none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_GUARDS = {
    "fs.file.impl": "confide.LocalGuard",
    "fs.AbstractFileSystem.file.impl": "confide.GuardFs",
}


def _text() -> str:
    rows = "".join(
        f"  <property><name>{name}</name><value>{value}</value><final>true</final></property>\n"
        for name, value in _GUARDS.items()
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'


CORE_SITE: Mapping[str, str] = MappingProxyType({"core-site.xml": _text()})
"""Path in the jar -> content."""
