"""Items by their names, as the store has them."""

from __future__ import annotations

from confide.broker.collateral.amd_authority import AmdAuthority
from confide.broker.collateral.amd_chip import AmdChip
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.item import AnyItem
from confide.errors import InvalidFormat


def item_named(name: str) -> AnyItem:
    """Return the item of a name.

    Raises:
        InvalidFormat: no item has this name.
    """
    match name.split("/"):
        case ["intel", tee, fmspc, ca]:
            return IntelPlatform.parse(tee, fmspc, ca)
        case ["amd", product, "vcek", hardware_id, tcb]:
            return AmdChip.parse(product, hardware_id, tcb)
        case ["amd", product, kind]:
            return AmdAuthority.parse(product, kind)
        case _:
            raise InvalidFormat(f"no collateral is called {name!r}")
