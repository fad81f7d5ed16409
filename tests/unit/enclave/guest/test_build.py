"""What a guest's initrd must hold."""

from __future__ import annotations

import subprocess
import sys

from confide.enclave.guest.build import IMPORTED
from confide.enclave.python_sources import distribution_of, required_distributions

LISTED = """
import sys
import confide.enclave.guest.boot
from confide.enclave.issuer import ISSUERS
from importlib import import_module
for module in ISSUERS.values():
    import_module(module)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_the_launcher_imports_nothing_that_a_guest_does_not_have():
    listed = subprocess.run([sys.executable, "-c", LISTED], capture_output=True, text=True, check=True).stdout
    imported = {name for module in listed.split() if (name := distribution_of(module))}
    assert imported - {"confide"} <= set(required_distributions(IMPORTED))
