"""Finish a commit that a killed run left half done: what its listing names lies where it was made ready."""

from __future__ import annotations

from pathlib import Path

from confide.data.atomic import storage_errors, sync_folder
from confide.data.listing import ListedFile, Listing
from confide.data.listing_io import check_file
from confide.errors import Refused

STAGES = ".confide-*.tmp"


def roll_forward(folder: Path, listing: Listing) -> None:
    """Put files of the listing in place that are missing there, or are others, and lie beside in a stage.

    Nothing is trusted: a file moves only if it has the size and binding that the broker's listing gives it.

    Raises:
        StorageUnavailable: permission, I/O.
    """
    with storage_errors(f"cannot read {folder}"):
        stages = sorted(folder.glob(STAGES))
        if not stages:
            return
        for listed in listing.files:
            if not _is_there(folder, listed, listing):
                for stage in stages:
                    if _is_there(stage, listed, listing):
                        (folder / listed.path).parent.mkdir(parents=True, exist_ok=True)
                        (stage / listed.path).replace(folder / listed.path)
                        sync_folder((folder / listed.path).parent)
                        break


def _is_there(folder: Path, listed: ListedFile, listing: Listing) -> bool:
    try:
        with (folder / listed.path).open("rb") as file:
            check_file(file, listed, listing.format)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, Refused):
        return False
    return True
