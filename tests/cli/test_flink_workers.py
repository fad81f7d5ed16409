"""What Flink's task managers do not do is refused before anything is built."""

import pytest

REFUSED = "Flink's task managers do not run in enclaves of their own under gramine yet"


@pytest.mark.parametrize(
    "start",
    [
        ("run", "--tee", "simulated", "--workers", "2"),
        ("policy", "allow", "--workers", "--read", "data/patients"),
        ("image", "build", "--role", "executor", "-o", "folder"),
    ],
    ids=["run", "allow", "build"],
)
def test_under_a_library_os(clinic, start):
    (clinic.folder / "job.py").write_text("")
    said = clinic(*start, "--profile", "flink", "--libos", "gramine", "job.py")
    assert said.code != 0
    assert REFUSED in " ".join(said.err.split())
