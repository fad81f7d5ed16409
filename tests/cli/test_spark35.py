"""What the profile `spark35` does not do is refused before anything is built, with the reason and what works."""

import re

import pytest

STARTS = {
    "run": ("run", "--tee", "simulated", "--profile", "spark35"),
    "allow": ("policy", "allow", "--profile", "spark35", "--read", "data/patients"),
}
EXECUTORS = {"run": ("--workers", "2"), "allow": ("--workers",)}
REFUSED = (
    (
        "job.py",
        EXECUTORS,
        r"has no executors in enclaves of their own: it knows no TLS .*local-cluster.* \(--profile spark\)",
    ),
    (
        "job.py",
        ("--conf", "spark.master=local-cluster[2,1,1793]"),
        "does not fit into 4096 MiB: .* --memory 5122m",
    ),
    ("job.py", ("--conf", "spark.master=local-cluster[2,1]"), r"write local-cluster\[N,CORES,MIB\]"),
    (
        "job.py",
        ("--conf", "spark.master=spark://h:7077"),
        "spark.master=spark://h:7077 would weaken the protection",
    ),
    (
        "job.py",
        ("--libos", "gramine", "--conf", "spark.master=local-cluster[2,1,512]"),
        "does not run under gramine",
    ),
    ("job.py", ("--libos", "gramine"), "does not run under gramine: rows cross the loopback device in clear"),
    ("job.py", ("--libos", "occlum"), "does not run under occlum: rows cross the loopback device in clear"),
    ("job.sql", (), "files of SQL and servers run with Spark 4.3"),
    ("analysts.toml", (), "files of SQL and servers run with Spark 4.3"),
    ("job.py", ("--conf", "spark.ui.enabled=true"), "spark.ui.enabled=true would weaken the protection"),
    ("job.py", ("--conf", "spark.jars=x.jar"), "spark.jars=x.jar would weaken the protection"),
)


@pytest.mark.parametrize("start", STARTS)
def test_refused(clinic, start):
    for name, options, reason in REFUSED:
        (clinic.folder / name).write_text("")
        given = options[start] if options is EXECUTORS else options
        said = clinic(*STARTS[start], *given, name)
        assert said.code != 0
        assert re.search(reason, " ".join(said.err.split())), said.err
