"""What differs inside an enclave that a library OS runs, as told by its measured environment.

There is no nested sandbox in it, nor mounts besides those of the manifest: files that the program is to see in clear
lie in an encrypted mount, whose key the agent makes for the run and hands to the library OS.
"""

from __future__ import annotations

import os
from pathlib import Path

from confide.enclave.image import DATA, RUN, SCRATCH, WORK

VARIABLE = "CONFIDE_LIBOS"
GRAMINE, OCCLUM = "gramine", "occlum"
LIBOSES = (GRAMINE, OCCLUM)
SCRATCH_KEY = "scratch"
CHILDREN = "CONFIDE_CHILDREN"
"""Variable that tells `early` how many children to fork under Gramine."""

_CLEAR_WORK = "CONFIDE_CLEAR_WORK"

CLEAR_WORK = {_CLEAR_WORK: "1"}
"""Environment of an enclave in which `/work` is the run's own, and may hold decrypted files."""


def inside_libos() -> str | None:
    """Return the library OS that runs this process, None outside of any."""
    return os.environ.get(VARIABLE) or None


def data_root() -> Path:
    """Return where the data root lies for this process."""
    return Path(DATA if os.environ.get(_CLEAR_WORK) else WORK)


def secrets_folder() -> Path:
    """Return the folder for secrets of the run that engines take as files alone.

    It lies in memory, but under Gramine, where processes share no memory file system: there it is the scratch space,
    encrypted under a key that only this run's enclaves have.
    """
    return Path(SCRATCH if inside_libos() == GRAMINE else RUN)
